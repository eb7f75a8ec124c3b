package http1

// chunkStep is what the next byte of a chunked body is part of.
type chunkStep uint8

const (
	chunkSize   chunkStep = iota // hexadecimal digits
	chunkExt                     // after ';' up to CR
	chunkSizeLF                  // the LF of the size line
	chunkData
	chunkDataCR
	chunkDataLF
	trailerStart // first byte of a trailer line, or the CR of the end
	trailerName
	trailerValue
	trailerLF
	finalLF
)

// chunkState is where a chunked body was left: RFC 9112 section 7.1.
type chunkState struct {
	left       int64 // bytes of the chunk still to come; while reading the size, its value so far
	extensions int   // bytes of extensions so far, in the whole message
	trailers   int   // bytes of trailers so far
	line       int16 // bytes of this size line
	digits     uint8
	step       chunkStep
}

func (p *Parser) readBody(r *Request, data []byte) (n int, done bool, err error) {
	if r.flags&flagChunked != 0 {
		n, done, err = p.readChunked(r, data)
	} else {
		n, done = readSized(r, data)
	}
	if err == nil && !done && r.head != nil && !r.ownsHead() {
		r.ownHead() // data is gone when the rest of the body comes
	}
	return n, done, err
}

func (r *Request) ownsHead() bool {
	return len(r.headBuf) > 0 && len(r.head) <= len(r.headBuf) && &r.headBuf[0] == &r.head[0]
}

// readSized reads a body of r.length bytes. One that is whole in data is not copied.
func readSized(r *Request, data []byte) (n int, done bool) {
	if r.length <= 0 {
		return 0, true
	}
	missing := r.length - int64(len(r.bodyBuf))
	if len(r.bodyBuf) == 0 && int64(len(data)) >= missing {
		r.body = data[:missing:missing]
		return int(missing), true
	}
	n = int(min(missing, int64(len(data))))
	r.growBody(n)
	r.bodyBuf = append(r.bodyBuf, data[:n]...)
	if int64(n) < missing {
		return n, false
	}
	r.body = r.bodyBuf
	return n, true
}

// readChunked decodes as much of a chunked body as data holds into r.bodyBuf.
func (p *Parser) readChunked(r *Request, data []byte) (n int, done bool, err error) {
	for n < len(data) && !done {
		m, piece, end, err := p.chunk.next(data[n:], int64(len(r.bodyBuf)), p.limits.BodyBytes)
		n += m
		if err != nil {
			return n, false, err
		}
		if len(piece) > 0 {
			r.growBody(len(piece))
			r.bodyBuf = append(r.bodyBuf, piece...)
		}
		done = end
	}
	if done {
		r.body = r.bodyBuf
	}
	return n, done, nil
}

// next returns the first run of bytes of a chunked body in data, of which it
// used n. piece is empty if data holds none. have of limit bytes came before.
func (s *chunkState) next(data []byte, have, limit int64) (n int, piece []byte, done bool, err error) {
	for n < len(data) {
		switch {
		case s.step == chunkData:
			m := int(min(s.left, int64(len(data)-n)))
			if s.left -= int64(m); s.left == 0 {
				s.step = chunkDataCR
			}
			return n + m, data[n : n+m], false, nil
		case s.step < trailerStart:
			err = s.frame(data[n], have, limit)
		default:
			done, err = s.trailer(data[n])
		}
		n++
		if err != nil || done {
			return n, nil, done, err
		}
	}
	return n, nil, false, nil
}

// frame takes one byte outside chunk data.
func (s *chunkState) frame(c byte, have, limit int64) error {
	switch s.step {
	case chunkSize, chunkExt:
		return s.sizeLine(c, have, limit)
	case chunkSizeLF:
		if c != '\n' {
			return errChunk
		}
		s.line, s.digits = 0, 0
		s.step = chunkData
		if s.left == 0 {
			s.step = trailerStart
		}
	case chunkDataCR:
		if c != '\r' {
			return errChunk
		}
		s.step = chunkDataLF
	default:
		if c != '\n' {
			return errChunk
		}
		s.step = chunkSize
	}
	return nil
}

// sizeLine takes one byte of "size [;extensions] CR". Blanks between the size
// and ";" are refused: readers disagree on them.
func (s *chunkState) sizeLine(c byte, have, limit int64) error {
	if s.line++; s.line > chunkLineBytes {
		return errExtensions
	}
	switch {
	case c == '\r' && s.digits > 0:
		if s.left > limit-have {
			return errBodyTooLarge
		}
		s.step = chunkSizeLF
	case s.step == chunkExt:
		if s.extensions++; s.extensions > extensionBytes {
			return errExtensions
		}
		if class[c]&isValue == 0 {
			return errChunk
		}
	case class[c]&isHex != 0:
		if s.digits++; s.digits > chunkDigits {
			return errChunk
		}
		s.left = s.left<<4 | int64(hexValue(c))
	case c == ';' && s.digits > 0:
		s.step = chunkExt
	default:
		return errChunk
	}
	return nil
}

// trailer takes one byte of the trailer section, which is checked and dropped.
func (s *chunkState) trailer(c byte) (done bool, err error) {
	if s.trailers++; s.trailers > trailerBytes+2 {
		return false, errTrailers
	}
	switch s.step {
	case trailerStart:
		switch {
		case c == '\r':
			s.step = finalLF
		case class[c]&isToken != 0:
			s.step = trailerName
		default:
			return false, errTrailer
		}
	case trailerName:
		if c == ':' {
			s.step = trailerValue
		} else if class[c]&isToken == 0 {
			return false, errTrailer
		}
	case trailerValue:
		if c == '\r' {
			s.step = trailerLF
		} else if class[c]&isValue == 0 {
			return false, errTrailer
		}
	case trailerLF:
		if c != '\n' {
			return false, errTrailer
		}
		s.step = trailerStart
	default:
		if c != '\n' {
			return false, errTrailer
		}
		return true, nil
	}
	return false, nil
}
