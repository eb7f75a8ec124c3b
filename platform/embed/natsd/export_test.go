package natsd

// Break ends the server as if it could not go on.
func (s *Server) Break() { shutdown(s.current()) }
