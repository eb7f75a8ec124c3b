package ws

import (
	"encoding/binary"
	"fmt"
)

// Opcode says what a frame carries (RFC 6455 section 5.2).
type Opcode byte

// The opcodes that are defined.
const (
	Continuation Opcode = 0x0
	Text         Opcode = 0x1
	Binary       Opcode = 0x2
	Close        Opcode = 0x8
	Ping         Opcode = 0x9
	Pong         Opcode = 0xA
)

func (o Opcode) control() bool { return o&0x8 != 0 }

func (o Opcode) defined() bool { return o <= Binary || (o >= Close && o <= Pong) }

const (
	finBit  = 0x80
	rsv1Bit = 0x40
	rsvBits = 0x70
	maskBit = 0x80

	maxControl = 125 // RFC 6455 section 5.5
)

// The close codes this package sends (RFC 6455 section 7.4.1 and the IANA registry).
const (
	CodeNormal         = 1000
	CodeGoingAway      = 1001
	CodeProtocolError  = 1002
	CodeUnsupported    = 1003
	CodeNoStatus       = 1005 // never on the wire
	CodeInvalidPayload = 1007
	CodePolicy         = 1008
	CodeTooBig         = 1009
	CodeInternal       = 1011
	CodeServiceRestart = 1012
	CodeTryAgainLater  = 1013
)

// ProtocolError is what a peer did wrong and the code to close with.
type ProtocolError struct {
	Code   int
	Reason string // at most 123 bytes, for the close frame
}

func (e *ProtocolError) Error() string { return fmt.Sprintf("websocket %d: %s", e.Code, e.Reason) }

func protocolError(format string, args ...any) error {
	return &ProtocolError{Code: CodeProtocolError, Reason: fmt.Sprintf(format, args...)}
}

// header is the head of one frame.
type header struct {
	op      Opcode
	fin     bool
	rsv1    bool
	mask    [4]byte
	payload int64
}

// parseHeader reads a client's frame head from the start of b. n is 0 while b
// is too short.
func parseHeader(b []byte, deflate bool) (h header, n int, err error) {
	if len(b) < 2 {
		return h, 0, nil
	}
	h.op, h.fin, h.rsv1 = Opcode(b[0]&0x0f), b[0]&finBit != 0, b[0]&rsv1Bit != 0
	if b[0]&rsvBits != 0 && (b[0]&rsvBits != rsv1Bit || !deflate || h.op.control() || h.op == Continuation) {
		return h, 0, protocolError("reserved bits %03b are not negotiated for this frame", b[0]&rsvBits>>4)
	}
	if !h.op.defined() {
		return h, 0, protocolError("opcode %#x is reserved", byte(h.op))
	}
	if b[1]&maskBit == 0 {
		return h, 0, protocolError("a client must mask its frames")
	}
	short := int64(b[1] &^ maskBit)
	if h.op.control() && (short > maxControl || !h.fin) {
		return h, 0, protocolError("a control frame must be whole and have at most %d bytes", maxControl)
	}
	n = 2
	switch short {
	default:
		h.payload = short
	case 126:
		if len(b) < 4 {
			return h, 0, nil
		}
		h.payload, n = int64(binary.BigEndian.Uint16(b[2:])), 4
		if h.payload < 126 {
			return h, 0, protocolError("length %d is not in its shortest form", h.payload)
		}
	case 127:
		if len(b) < 10 {
			return h, 0, nil
		}
		length := binary.BigEndian.Uint64(b[2:])
		if length>>63 != 0 || length < 1<<16 {
			return h, 0, protocolError("length %d is not in its shortest form", length)
		}
		h.payload, n = int64(length), 10 //nolint:gosec // the top bit is clear
	}
	if len(b) < n+4 {
		return h, 0, nil
	}
	copy(h.mask[:], b[n:])
	return h, n + 4, nil
}

// unmask XORs b with mask, of which off bytes have been used before.
func unmask(b []byte, mask [4]byte, off int64) {
	var m [8]byte
	for i := range m {
		m[i] = mask[(int64(i)+off)&3]
	}
	wide := binary.LittleEndian.Uint64(m[:])
	for len(b) >= 8 {
		binary.LittleEndian.PutUint64(b, binary.LittleEndian.Uint64(b)^wide)
		b = b[8:]
	}
	for i := range b {
		b[i] ^= m[i]
	}
}

// AppendFrame appends a whole unmasked frame, as a server sends it. compressed
// marks a payload made by [Deflater.Append].
func AppendFrame(dst []byte, op Opcode, payload []byte, compressed bool) []byte {
	first := byte(op) | finBit
	if compressed {
		first |= rsv1Bit
	}
	dst = append(dst, first)
	switch n := len(payload); {
	case n <= maxControl:
		dst = append(dst, byte(n))
	case n < 1<<16:
		dst = append(dst, 126, byte(n>>8), byte(n))
	default:
		dst = append(dst, 127)
		dst = binary.BigEndian.AppendUint64(dst, uint64(n))
	}
	return append(dst, payload...)
}

// AppendClose appends a close frame. A code of [CodeNoStatus] gives an empty
// one. reason is cut to the 123 bytes that fit, never inside a character.
func AppendClose(dst []byte, code int, reason string) []byte {
	if code == CodeNoStatus {
		return AppendFrame(dst, Close, nil, false)
	}
	if len(reason) > maxControl-2 {
		cut := maxControl - 2
		for cut > 0 && reason[cut]&0xC0 == 0x80 {
			cut--
		}
		reason = reason[:cut]
	}
	payload := make([]byte, 0, maxControl)
	payload = binary.BigEndian.AppendUint16(payload, uint16(code)) //nolint:gosec // codes are below 5000
	return AppendFrame(dst, Close, append(payload, reason...), false)
}

// validCode reports whether a peer may send code in a close frame.
func validCode(code int) bool {
	switch {
	case code >= 1000 && code <= 1003, code >= 1007 && code <= 1014, code >= 3000 && code <= 4999:
		return true
	}
	return false
}
