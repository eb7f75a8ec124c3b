// Package corpus holds what hostile and careless clients send and what a server
// must make of it, written from the RFCs: the request framings of HTTP/1.1 that
// smuggle, and the frames of WebSocket. The parsers of the gateway are tested
// with it byte by byte, the gateway through its sockets.
package corpus
