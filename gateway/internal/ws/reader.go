package ws

import (
	"encoding/binary"
	"unicode/utf8"
)

// Event is what a peer said: a whole message (Text, Binary) or a control frame
// (Ping, Pong, Close). Data is valid until the next call of [Reader.Next].
type Event struct {
	Op     Opcode
	Data   []byte // of a Close: the reason
	Code   int    // of a Close: its code, CodeNoStatus if it had none
	Packed bool   // Data is compressed, see [Reader.Unpack]
	Exists bool   // false: nothing is whole yet
}

// Reader takes a client's bytes apart. But for Unpack it is not safe for concurrent
// use.
type Reader struct {
	maxMessage int
	inflater   *Inflater // nil: compression was not negotiated

	head     header
	inFrame  bool
	received int64 // bytes of the current frame's payload taken so far

	op         Opcode // of the message under way; Continuation if none
	compressed bool
	message    []byte
	text       utf8Checker

	control [maxControl]byte
	closed  bool
}

const (
	keepBytes = 4 << 10 // how large a message buffer an idle connection may keep

	// packedBytes is the size from which a compressed message is left to the caller
	// to unpack. Smaller ones take a millisecond or two at most, whatever is in them;
	// one of a megabyte may take a hundred.
	packedBytes = 1 << 10
)

// NewReader returns a Reader that refuses messages over maxMessage bytes with
// code 1009, before and after decompression. inflater is nil unless
// permessage-deflate was negotiated.
func NewReader(maxMessage int, inflater *Inflater) *Reader {
	return &Reader{maxMessage: maxMessage, inflater: inflater}
}

// Buffered returns how many bytes of an unfinished message the Reader holds.
func (r *Reader) Buffered() int { return len(r.message) }

// Release gives back the memory of a large message that was delivered. Call it
// when the event has been used, so that an idle connection stays small.
func (r *Reader) Release() {
	if r.op == Continuation && cap(r.message) > keepBytes {
		r.message = nil
	}
}

// Next takes bytes from the start of b, unmasking them in place, and returns
// how many it took and the next event, if one is whole. Call it again with the
// rest until it takes nothing and returns no event. After an error or a Close
// nothing more may be read. An error is a *[ProtocolError].
func (r *Reader) Next(b []byte) (n int, ev Event, err error) {
	if r.closed {
		return len(b), Event{}, nil // RFC 6455 section 5.5.1: data after Close is ignored
	}
	if !r.inFrame {
		h, used, err := parseHeader(b, r.inflater != nil)
		if err != nil || used == 0 {
			return 0, Event{}, err
		}
		if err := r.begin(h); err != nil {
			return 0, Event{}, err
		}
		n = used
	}
	chunk := b[n:]
	if left := r.head.payload - r.received; int64(len(chunk)) > left {
		chunk = chunk[:left]
	}
	unmask(chunk, r.head.mask, r.received)
	if err := r.take(chunk); err != nil {
		return n, Event{}, err
	}
	n += len(chunk)
	r.received += int64(len(chunk))
	if r.received < r.head.payload {
		return n, Event{}, nil
	}
	r.inFrame = false
	ev, err = r.finish()
	return n, ev, err
}

func (r *Reader) begin(h header) error {
	if !h.op.control() {
		switch {
		case h.op == Continuation && r.op == Continuation:
			return protocolError("a continuation without a message to continue")
		case h.op != Continuation && r.op != Continuation:
			return protocolError("a new message before the last one ended")
		}
		if int64(len(r.message))+h.payload > int64(r.maxMessage) {
			return &ProtocolError{Code: CodeTooBig, Reason: "the message is too big"}
		}
		if h.op != Continuation {
			r.op, r.compressed, r.message, r.text = h.op, h.rsv1, r.message[:0], utf8Checker{}
		}
	}
	r.head, r.received, r.inFrame = h, 0, true
	return nil
}

func (r *Reader) take(chunk []byte) error {
	if r.head.op.control() {
		copy(r.control[r.received:], chunk)
		return nil
	}
	if r.op == Text && !r.compressed && !r.text.add(chunk) {
		return &ProtocolError{Code: CodeInvalidPayload, Reason: "the text is not UTF-8"}
	}
	r.message = append(r.message, chunk...)
	return nil
}

func (r *Reader) finish() (Event, error) {
	if r.head.op.control() {
		return r.finishControl(r.control[:r.head.payload])
	}
	if !r.head.fin {
		return Event{}, nil
	}
	ev := Event{Op: r.op, Data: r.message, Exists: true}
	r.op = Continuation
	if !r.compressed {
		if ev.Op == Text && !r.text.complete() {
			return Event{}, &ProtocolError{Code: CodeInvalidPayload, Reason: "the text ends inside a character"}
		}
		r.message = r.message[:0]
		return ev, nil
	}
	r.message = r.message[:0]
	if len(ev.Data) > packedBytes {
		ev.Packed = true
		return ev, nil
	}
	var err error
	if ev.Data, err = r.Unpack(ev.Op, ev.Data); err != nil {
		return Event{}, err
	}
	return ev, nil
}

// Unpack returns the data of a compressed message. It is safe on any goroutine. An
// error is a *[ProtocolError].
func (r *Reader) Unpack(op Opcode, packed []byte) ([]byte, error) {
	data, err := r.inflater.Inflate(packed, r.maxMessage)
	if err != nil {
		return nil, err
	}
	if op == Text && !utf8.Valid(data) {
		return nil, &ProtocolError{Code: CodeInvalidPayload, Reason: "the text is not UTF-8"}
	}
	return data, nil
}

func (r *Reader) finishControl(payload []byte) (Event, error) {
	ev := Event{Op: r.head.op, Data: payload, Exists: true}
	if r.head.op != Close {
		return ev, nil
	}
	r.closed = true
	ev.Code = CodeNoStatus
	if len(payload) == 1 {
		return Event{}, protocolError("a close frame with half a code")
	}
	if len(payload) >= 2 {
		ev.Code, ev.Data = int(binary.BigEndian.Uint16(payload)), payload[2:]
		if !validCode(ev.Code) {
			return Event{}, protocolError("close code %d must not be sent", ev.Code)
		}
		if !utf8.Valid(ev.Data) {
			return Event{}, &ProtocolError{Code: CodeInvalidPayload, Reason: "the close reason is not UTF-8"}
		}
	}
	return ev, nil
}

// utf8Checker checks text that arrives in pieces cut anywhere.
type utf8Checker struct {
	tail [utf8.UTFMax]byte
	n    int // bytes of an unfinished character in tail
}

// add reports whether everything so far may still become UTF-8.
func (c *utf8Checker) add(b []byte) bool {
	for c.n > 0 && len(b) > 0 {
		c.tail[c.n] = b[0]
		c.n++
		b = b[1:]
		if r, _ := utf8.DecodeRune(c.tail[:c.n]); r != utf8.RuneError || validReplacement(c.tail[:c.n]) {
			c.n = 0
		} else if utf8.FullRune(c.tail[:c.n]) {
			return false
		}
	}
	if utf8.Valid(b) {
		return true
	}
	for len(b) > 0 {
		r, size := utf8.DecodeRune(b)
		if r == utf8.RuneError && size == 1 {
			if utf8.FullRune(b) {
				return false
			}
			c.n = copy(c.tail[:], b)
			return true
		}
		b = b[size:]
	}
	return true
}

// validReplacement reports whether b is U+FFFD itself, which decodes like an error.
func validReplacement(b []byte) bool { return string(b) == "\uFFFD" }

// complete reports whether the text does not end inside a character.
func (c *utf8Checker) complete() bool { return c.n == 0 }
