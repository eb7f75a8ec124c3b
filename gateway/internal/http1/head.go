package http1

import "bytes"

// parseHead reads r.head, in which every line is known to end in CR LF.
func (r *Request) parseHead(limits *Limits) error {
	h := r.head
	eol := bytes.IndexByte(h, '\r')
	if h[eol+1] != '\n' {
		return errBareCR
	}
	if err := r.parseLine(eol, limits); err != nil {
		return err
	}
	seen := seenFields{}
	for at := eol + 2; at < len(h); {
		n := bytes.IndexByte(h[at:], '\r')
		if h[at+n+1] != '\n' {
			return errBareCR
		}
		f, err := splitField(h, at, at+n)
		if err != nil {
			return err
		}
		if len(r.fields) >= limits.Fields {
			return errTooManyFields
		}
		r.fields = append(r.fields, f)
		if err := r.interpret(f, &seen); err != nil {
			return err
		}
		at += n + 2
	}
	return r.checkFraming(&seen)
}

// parseLine reads "method SP target SP version": RFC 9112 section 3.
func (r *Request) parseLine(eol int, limits *Limits) error {
	l := r.head[:eol]
	m := bytes.IndexByte(l, ' ')
	if m <= 0 {
		return errRequestLine
	}
	if m > methodBytes || !all(l[:m], isToken) {
		return errMethod
	}
	r.method = internMethod(l[:m])
	n := bytes.IndexByte(l[m+1:], ' ')
	if n <= 0 {
		return errRequestLine
	}
	if err := r.parseVersion(l[m+n+2:]); err != nil {
		return err
	}
	if n > limits.TargetBytes {
		return errTargetTooLong
	}
	return r.parseTarget(span{uint16(m + 1), uint16(m + 1 + n)})
}

// parseVersion reads "HTTP/1.x". A higher minor version is served as 1.1, as
// RFC 9110 section 2.5 asks.
func (r *Request) parseVersion(v []byte) error {
	const form = "HTTP/1.1"
	if len(v) != len(form) || string(v[:5]) != "HTTP/" || v[6] != '.' || !digit(v[5]) || !digit(v[7]) {
		return errRequestLine
	}
	if v[5] != '1' {
		return errVersion
	}
	if v[7] != '0' {
		r.minor = 1
	}
	return nil
}

func digit(c byte) bool { return '0' <= c && c <= '9' }

// splitField reads the field line h[at:end]: RFC 9112 section 5. A folded line
// starts with a blank, which is not a token.
func splitField(h []byte, at, end int) (f field, err error) {
	l := h[at:end]
	colon := bytes.IndexByte(l, ':')
	if colon <= 0 {
		return f, errFieldLine
	}
	if !all(l[:colon], isToken) {
		return f, errFieldName
	}
	v, e := colon+1, len(l)
	for v < e && (l[v] == ' ' || l[v] == '\t') {
		v++
	}
	for e > v && (l[e-1] == ' ' || l[e-1] == '\t') {
		e--
	}
	if !allValue(l[v:e]) {
		return f, errFieldValue
	}
	f.name = span{uint16(at), uint16(at + colon)}
	f.value = span{uint16(at + v), uint16(at + e)}
	return f, nil
}

// seenFields remembers which of the fields that decide the framing were seen.
type seenFields struct{ host, length, coding bool }

// interpret reads the fields that decide about the message and the connection.
func (r *Request) interpret(f field, seen *seenFields) error {
	name, value := r.at(f.name), r.at(f.value)
	switch len(name) {
	case len("host"):
		if equalFold(name, "host") {
			if seen.host || !validHost(value) {
				return errHost
			}
			seen.host = true
			if r.host == (span{}) {
				r.host = f.value
			}
		}
	case len("expect"):
		if equalFold(name, "expect") {
			if !equalFold(value, "100-continue") {
				return errExpectation
			}
			if r.minor > 0 { // RFC 9110 section 10.1.1: ignored in HTTP/1.0
				r.flags |= flagExpect
			}
		}
	case len("connection"):
		if equalFold(name, "connection") {
			return r.readConnection(value)
		}
	case len("content-length"):
		if equalFold(name, "content-length") {
			if seen.length {
				return errLength
			}
			seen.length = true
			return r.readLength(value)
		}
	case len("transfer-encoding"):
		if equalFold(name, "transfer-encoding") {
			if seen.coding {
				return errCodingOrder
			}
			seen.coding = true
			return r.readCoding(value)
		}
	}
	return nil
}

// validHost checks uri-host [":" port]: RFC 9110 section 7.2.
func validHost(v []byte) bool {
	if !all(v, isHost) {
		return false
	}
	rest := v
	if len(v) > 0 && v[0] == '[' {
		var closed bool
		if _, rest, closed = bytes.Cut(v, []byte("]")); !closed {
			return false
		}
	}
	if bytes.IndexByte(rest, '[') >= 0 || bytes.IndexByte(rest, ']') >= 0 {
		return false
	}
	if i := bytes.IndexByte(rest, ':'); i >= 0 {
		for _, c := range rest[i+1:] {
			if !digit(c) {
				return false
			}
		}
	} else if len(rest) > 0 && len(rest) < len(v) {
		return false // something other than a port follows the bracket
	}
	return true
}

func (r *Request) readConnection(v []byte) error {
	for len(v) > 0 {
		var t []byte
		if i := bytes.IndexByte(v, ','); i >= 0 {
			t, v = v[:i], v[i+1:]
		} else {
			t, v = v, nil
		}
		t = trimBlank(t)
		if !all(t, isToken) {
			return errConnectionList
		}
		switch {
		case equalFold(t, "close"):
			r.flags |= flagClose
		case equalFold(t, "keep-alive"):
			r.flags |= flagKeepAlive
		case equalFold(t, "upgrade") && r.minor > 0:
			r.flags |= flagUpgrade
		}
	}
	return nil
}

func (r *Request) readLength(v []byte) error {
	if len(v) == 0 || len(v) > contentLenDigits {
		return errLength
	}
	r.length = 0
	for _, c := range v {
		if !digit(c) {
			return errLength
		}
		r.length = r.length*10 + int64(c-'0')
	}
	return nil
}

func (r *Request) readCoding(v []byte) error {
	if r.minor == 0 {
		return errCodingVersion
	}
	if equalFold(v, "chunked") {
		r.flags |= flagChunked
		return nil
	}
	if len(v) == 0 {
		return errCodingOrder
	}
	for len(v) > 0 { // "chunked" anywhere in a list is a framing that readers disagree on
		i := bytes.IndexByte(v, ',')
		if i < 0 {
			i = len(v)
		}
		if equalFold(trimBlank(v[:i]), "chunked") {
			return errCodingOrder
		}
		v = v[min(i+1, len(v)):]
	}
	return errCoding
}

func (r *Request) checkFraming(seen *seenFields) error {
	if !seen.host && r.minor > 0 {
		return errHost
	}
	if seen.coding && seen.length {
		return errBothFramings
	}
	return nil
}
