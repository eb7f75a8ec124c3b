package http1

import "encoding/binary"

// Classes of bytes, as tables because every byte of every head is looked up.
const (
	isToken = 1 << iota // RFC 9110 section 5.6.2
	isValue             // VCHAR, obs-text, SP and HTAB: RFC 9110 section 5.5
	isHost              // reg-name, IP-literal and port: RFC 3986 section 3.2.2
	isHex
)

var class = classes()

func classes() (t [256]uint8) {
	mark := func(set string, bit uint8) {
		for _, c := range []byte(set) {
			t[c] |= bit
		}
	}
	for c := byte('a'); c <= 'z'; c++ {
		t[c] |= isToken | isHost
		t[c-'a'+'A'] |= isToken | isHost
	}
	mark("0123456789", isToken|isHost)
	mark("!#$%&'*+-.^_`|~", isToken)
	mark("-._~%!$&'()*+;=:[]", isHost)
	mark("0123456789abcdefABCDEF", isHex)
	for c := range 256 {
		if c == '\t' || c >= ' ' && c != 0x7f {
			t[c] |= isValue
		}
	}
	return t
}

// allValue is all(b, isValue), eight bytes at a time: values are the most of a head.
func allValue(b []byte) bool {
	const ones, high = 0x0101010101010101, 0x8080808080808080
	for ; len(b) >= 8; b = b[8:] {
		w := binary.LittleEndian.Uint64(b)
		del := w ^ 0x7f*ones
		low := (w - ' '*ones) &^ w & high // marks every byte below SP, if any; what borrows from it may be marked, too
		low |= (del - ones) &^ del & high // marks every DEL likewise
		if low != 0 && !all(b[:8], isValue) {
			return false
		}
	}
	return all(b, isValue)
}

func all(b []byte, bit uint8) bool {
	for _, c := range b {
		if class[c]&bit == 0 {
			return false
		}
	}
	return true
}

func hexValue(c byte) byte {
	switch {
	case c <= '9':
		return c - '0'
	case c <= 'F':
		return c - 'A' + 10
	default:
		return c - 'a' + 10
	}
}

// equalFold reports whether b equals lower without regard to ASCII case;
// lower must be in lower case.
func equalFold(b []byte, lower string) bool {
	if len(b) != len(lower) {
		return false
	}
	for i, c := range b {
		if 'A' <= c && c <= 'Z' {
			c |= 0x20
		}
		if c != lower[i] {
			return false
		}
	}
	return true
}

func trimBlank(b []byte) []byte {
	for len(b) > 0 && (b[0] == ' ' || b[0] == '\t') {
		b = b[1:]
	}
	for len(b) > 0 && (b[len(b)-1] == ' ' || b[len(b)-1] == '\t') {
		b = b[:len(b)-1]
	}
	return b
}
