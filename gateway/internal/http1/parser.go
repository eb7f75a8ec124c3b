package http1

import (
	"bytes"
	"math"
)

// Stage says how far into a message a [Parser] is.
type Stage uint8

// The stages of a parser.
const (
	StageIdle Stage = iota // no byte of the next message was seen
	StageHead              // the head is incomplete
	StageBody              // the head is complete, the body is not
	StageLeft              // the request was returned, its body is read with ReadBody
)

// Parser frames requests. The zero value is not usable: see [NewParser]. A
// Parser is used by one goroutine at a time.
type Parser struct {
	limits *Limits
	leave  func(*Request) bool
	left   int64 // bytes of a streamed body that has a length
	sized  bool
	scan   int32 // where the line that is being read starts in the head
	seen   int32 // how much of the head was searched for line ends
	blank  uint8 // empty lines skipped before the head
	stage  Stage
	chunk  chunkState
}

// NewParser returns a parser within limits, which it keeps a pointer to.
func NewParser(limits *Limits) Parser { return Parser{limits: limits} }

// LeaveBodies makes the parser ask f, once a head is complete that a body follows,
// whether the body is to be read in pieces. Then Parse returns the request
// without its body, whatever the length of that, and the body is read with
// [Parser.ReadBody].
func (p *Parser) LeaveBodies(f func(*Request) bool) { p.leave = f }

// Stage returns how far into a message the parser is.
func (p *Parser) Stage() Stage { return p.stage }

// Parse reads data and returns how many bytes of it were used. With done, r is
// a complete request and the rest of data belongs to the next one; without, all
// of data was used and more is needed, to be parsed with the same r. An error
// is always an [*Error]; the parser is then of no further use.
func (p *Parser) Parse(r *Request, data []byte) (n int, done bool, err error) {
	if len(data) == 0 {
		return 0, false, nil
	}
	if p.stage == StageIdle {
		r.Reset()
		p.stage, p.scan, p.seen, p.blank = StageHead, 0, 0, 0
	}
	if p.stage == StageHead {
		n, err = p.readHead(r, data)
		if err != nil || p.stage == StageHead {
			return n, false, err
		}
		if err = r.parseHead(p.limits); err != nil {
			return n, false, err
		}
		p.chunk = chunkState{}
		if p.leave != nil && (r.length > 0 || r.flags&flagChunked != 0) && p.leave(r) {
			p.stage, p.left, p.sized = StageLeft, r.length, r.flags&flagChunked == 0
			return n, true, nil
		}
		if r.length > p.limits.BodyBytes {
			return n, false, errBodyTooLarge
		}
	}
	m, done, err := p.readBody(r, data[n:])
	if done {
		p.stage = StageIdle
	}
	return n + m, done, err
}

// ReadBody reads on in a body that is streamed. It returns how many bytes of
// data it used and the bytes of the body among them, which are part of data and
// may be none. It is called again with the rest until all of data is used or
// done is true, after which the rest belongs to the next request. The length of
// the body is not limited. Errors are as for [Parser.Parse].
func (p *Parser) ReadBody(data []byte) (n int, piece []byte, done bool, err error) {
	if p.sized {
		n = int(min(p.left, int64(len(data))))
		p.left -= int64(n)
		piece, done = data[:n], p.left == 0
	} else {
		n, piece, done, err = p.chunk.next(data, 0, math.MaxInt64)
	}
	if done {
		p.stage = StageIdle
	}
	return n, piece, done, err
}

// readHead looks for the empty line that ends a head. If the head is whole in
// data it is not copied.
func (p *Parser) readHead(r *Request, data []byte) (int, error) {
	skipped := 0
	if len(r.headBuf) == 1 && r.headBuf[0] == '\r' && data[0] == '\n' {
		// The CR of an empty line ended the last piece.
		r.headBuf, p.scan, p.seen = r.headBuf[:0], 0, 0
		if p.blank++; p.blank > leadingLines {
			return 0, errTooManyCRLF
		}
		skipped = 1
	}
	if len(r.headBuf) == 0 {
		blank, err := p.skipBlank(data[skipped:])
		if skipped += blank; err != nil || skipped == len(data) {
			return skipped, err
		}
		data = data[skipped:]
	}
	had := len(r.headBuf)
	b := data
	if had > 0 {
		room := p.limits.HeadBytes + 1 - had
		r.headBuf = append(r.headBuf, data[:min(len(data), room)]...)
		b = r.headBuf
	}
	end, err := p.findEnd(b)
	if err != nil {
		return skipped, err
	}
	if end == 0 {
		if had == 0 {
			r.headBuf = append(r.headBuf, data...)
		}
		return skipped + len(data), nil
	}
	if had > 0 {
		r.headBuf = r.headBuf[:end]
		b = r.headBuf
	}
	r.head = b[:end-2] // without the empty line
	p.stage = StageBody
	return skipped + end - had, nil
}

// skipBlank passes over empty lines before the request line: RFC 9112 section
// 2.2. A CR whose LF has not arrived is left for the head, where it waits.
func (p *Parser) skipBlank(data []byte) (n int, err error) {
	for len(data) >= n+2 && data[n] == '\r' && data[n+1] == '\n' {
		if p.blank++; p.blank > leadingLines {
			return n, errTooManyCRLF
		}
		n += 2
	}
	return n, nil
}

// findEnd returns the length of the head in b including the empty line, or 0
// if it is not there yet. It never looks at a byte twice over all calls.
func (p *Parser) findEnd(b []byte) (int, error) {
	if c := b[0]; class[c]&isToken == 0 && (c != '\r' || len(b) > 1 && b[1] != '\n') {
		return 0, errMethod
	}
	for {
		i := bytes.IndexByte(b[p.seen:], '\n')
		if i < 0 {
			p.seen = int32(len(b))
			break
		}
		i += int(p.seen)
		if i >= p.limits.HeadBytes || p.scan == 0 && i > p.lineBytes() {
			return 0, p.tooLarge(b) // before anything else, as if it had come byte by byte
		}
		if i == 0 || b[i-1] != '\r' {
			return 0, errBareLF
		}
		empty := i-1 == int(p.scan)
		p.scan, p.seen = int32(i+1), int32(i+1)
		if empty {
			return i + 1, nil
		}
	}
	if len(b) > p.limits.HeadBytes || p.scan == 0 && len(b) > p.lineBytes() {
		return 0, p.tooLarge(b)
	}
	return 0, nil
}

// lineBytes is how long a request line may be without its LF.
func (p *Parser) lineBytes() int { return p.limits.TargetBytes + methodBytes + len("  HTTP/1.1\r") }

func (p *Parser) tooLarge(b []byte) error {
	if line, _, _ := bytes.Cut(b, []byte("\n")); len(line) > p.limits.TargetBytes {
		return errTargetTooLong
	}
	return errHeadTooLarge
}
