package http1

import "bytes"

// parseTarget takes the target apart: RFC 9112 section 3.2. Offsets are into r.head.
func (r *Request) parseTarget(s span) error {
	t := r.at(s)
	for _, c := range t {
		if c <= ' ' || c >= 0x7f || c == '#' {
			return errTarget
		}
	}
	switch {
	case r.method == "CONNECT":
		return errConnect
	case t[0] == '/':
		return r.parsePath(s)
	case len(t) == 1 && t[0] == '*':
		if r.method != "OPTIONS" {
			return errTarget
		}
		r.rawPath = s
		return nil
	}
	return r.parseAbsolute(s)
}

// parseAbsolute reads the absolute-form. Its authority replaces the Host field:
// RFC 9112 section 3.2.2.
func (r *Request) parseAbsolute(s span) error {
	t := r.at(s)
	var skip int
	switch {
	case len(t) > 7 && equalFold(t[:7], "http://"):
		skip = 7
	case len(t) > 8 && equalFold(t[:8], "https://"):
		skip = 8
	default:
		return errTarget
	}
	end := skip
	for end < len(t) && t[end] != '/' && t[end] != '?' {
		end++
	}
	if end == skip || !all(t[skip:end], isHost) {
		return errTarget
	}
	r.host = span{s.off + uint16(skip), s.off + uint16(end)}
	s.off += uint16(end)
	if s.off == s.end || r.head[s.off] == '?' {
		r.flags |= flagEmptyPath
		if s.off < s.end {
			r.query = span{s.off + 1, s.end}
		}
		return nil
	}
	return r.parsePath(s)
}

// parsePath checks a path. It is not decoded: a router splits it first.
func (r *Request) parsePath(s span) error {
	p := r.at(s)
	if i := bytes.IndexByte(p, '?'); i >= 0 {
		r.query = span{s.off + uint16(i) + 1, s.end}
		s.end = s.off + uint16(i)
		p = p[:i]
	}
	r.rawPath = s
	for i := bytes.IndexByte(p, '%'); i >= 0; i = bytes.IndexByte(p, '%') {
		if i+2 >= len(p) || class[p[i+1]]&isHex == 0 || class[p[i+2]]&isHex == 0 {
			return errPercent
		}
		if c := hexValue(p[i+1])<<4 | hexValue(p[i+2]); c < ' ' || c == 0x7f {
			return errPercent
		}
		p = p[i+3:]
	}
	return nil
}
