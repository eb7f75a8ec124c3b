package http1

import (
	"iter"
	"slices"
)

// span is a part of the head. 16 bits suffice: see Limits.HeadBytes.
type span struct{ off, end uint16 }

type field struct{ name, value span }

type flag uint8

const (
	flagClose flag = 1 << iota
	flagKeepAlive
	flagUpgrade
	flagExpect
	flagChunked
	flagEmptyPath // absolute-form without a path, which means "/"
	flagDetached
)

// Request is one complete request. Its methods return views into memory that
// is reused: they are valid until the next Parse with this Request, unless
// [Request.Detach] was called. A Request must not be used by two goroutines
// without synchronisation. The zero value is ready for [Parser.Parse].
type Request struct {
	head    []byte // from the request line to the last field, with its line end
	body    []byte
	method  string
	fields  []field
	rawPath span
	query   span
	host    span
	length  int64 // Content-Length; -1 without one
	minor   uint8
	flags   flag

	headBuf []byte // own memory, kept between requests
	bodyBuf []byte
}

// Method returns the method. For the methods of RFC 9110 and PATCH it does not
// allocate.
func (r *Request) Method() string { return r.method }

// RawPath returns the path of the target as it was sent, percent-encoded. It starts
// with "/", except for "OPTIONS *", and encodes no control character.
func (r *Request) RawPath() []byte {
	if r.flags&flagEmptyPath != 0 {
		return []byte{'/'}
	}
	return r.at(r.rawPath)
}

// Query returns what follows the first "?" of the target, still encoded.
func (r *Request) Query() []byte { return r.at(r.query) }

// Host returns the authority that the request is for: that of an absolute
// target, else the Host field. It may be empty.
func (r *Request) Host() []byte { return r.at(r.host) }

// Minor returns 1 for HTTP/1.1 and 0 for HTTP/1.0.
func (r *Request) Minor() int { return int(r.minor) }

// Header returns the value of the first field called name, in any case, or nil.
func (r *Request) Header(name string) []byte {
	for i := range r.fields {
		f := &r.fields[i]
		if int(f.name.end-f.name.off) == len(name) && sameFold(r.at(f.name), name) {
			v := r.at(f.value)
			if v == nil {
				v = r.head[:0]
			}
			return v
		}
	}
	return nil
}

// Headers yields every field in the order of the head.
func (r *Request) Headers() iter.Seq2[[]byte, []byte] {
	return func(yield func(name, value []byte) bool) {
		for _, f := range r.fields {
			if !yield(r.at(f.name), r.at(f.value)) {
				return
			}
		}
	}
}

// Body returns the body without its transfer coding. It is empty if there is none.
func (r *Request) Body() []byte { return r.body }

// KeepAlive reports whether the client allows another request on this
// connection.
func (r *Request) KeepAlive() bool {
	if r.flags&flagClose != 0 {
		return false
	}
	return r.minor >= 1 || r.flags&flagKeepAlive != 0
}

// Upgrade reports whether the client offers to leave HTTP: an Upgrade field
// that Connection lists.
func (r *Request) Upgrade() bool { return r.flags&flagUpgrade != 0 && r.Header("upgrade") != nil }

// ExpectContinue reports whether the client waits for 100 (Continue) before it
// sends the body.
func (r *Request) ExpectContinue() bool { return r.flags&flagExpect != 0 }

// Detach copies what the request looks at into memory of its own, so that it
// stays valid after the memory it was parsed from is reused. A detached request
// must not be given to Parse again. Detaching twice is harmless.
func (r *Request) Detach() {
	if r.flags&flagDetached != 0 {
		return
	}
	r.flags |= flagDetached
	own := make([]byte, 0, len(r.head)+len(r.body))
	own = append(append(own, r.head...), r.body...)
	r.body = own[len(r.head):]
	r.head = own[:len(r.head):len(r.head)]
	r.headBuf, r.bodyBuf = nil, nil
}

// Invalidate makes the request empty. The owner of the memory that it looks
// into calls it when that memory goes away, so that a late reader finds nothing
// rather than another client's bytes.
func (r *Request) Invalidate() {
	r.head, r.body, r.fields = nil, nil, r.fields[:0]
	r.rawPath, r.query, r.host = span{}, span{}, span{}
}

// Detached reports whether Detach was called since the request was parsed.
func (r *Request) Detached() bool { return r.flags&flagDetached != 0 }

// Reset forgets the request and keeps its buffers, unless they grew large.
func (r *Request) Reset() {
	headBuf, bodyBuf, fields := r.headBuf[:0], r.bodyBuf[:0], r.fields[:0]
	if cap(bodyBuf) > keptBufferBytes {
		bodyBuf = nil
	}
	*r = Request{length: -1, headBuf: headBuf, bodyBuf: bodyBuf, fields: fields}
}

func (r *Request) at(s span) []byte {
	if s.off == s.end {
		return nil
	}
	return r.head[s.off:s.end:s.end]
}

// ownHead makes the head independent of the memory it was found in.
func (r *Request) ownHead() {
	r.headBuf = append(r.headBuf[:0], r.head...)
	r.head = r.headBuf
}

// Held returns how many bytes of memory the request keeps for its head and body.
func (r *Request) Held() int {
	if r.flags&flagDetached != 0 {
		return len(r.head) + len(r.body)
	}
	return cap(r.headBuf) + cap(r.bodyBuf)
}

func (r *Request) growBody(n int) {
	if need := len(r.bodyBuf) + n; need > cap(r.bodyBuf) {
		want := max(need, 2*cap(r.bodyBuf), 512)
		if r.length > 0 {
			want = max(need, min(want, int(r.length)))
		}
		r.bodyBuf = slices.Grow(r.bodyBuf, want-len(r.bodyBuf))
	}
}

func sameFold(b []byte, s string) bool {
	for i, c := range b {
		d := s[i]
		if c == d {
			continue
		}
		if c|0x20 != d|0x20 || c|0x20 < 'a' || c|0x20 > 'z' {
			return false
		}
	}
	return true
}

// internMethod returns the method without an allocation if it is well known.
func internMethod(b []byte) string {
	switch string(b) {
	case "GET":
		return "GET"
	case "POST":
		return "POST"
	case "HEAD":
		return "HEAD"
	case "PUT":
		return "PUT"
	case "DELETE":
		return "DELETE"
	case "OPTIONS":
		return "OPTIONS"
	case "PATCH":
		return "PATCH"
	case "TRACE":
		return "TRACE"
	case "CONNECT":
		return "CONNECT"
	}
	return string(b)
}
