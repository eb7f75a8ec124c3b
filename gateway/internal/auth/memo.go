package auth

import "crypto/subtle"

const (
	memoSlots = 16
	memoBytes = 64 // a field with an API key is shorter
)

// Memo remembers the hashes of the Authorization fields that came last, so that a
// key which comes with every request is not hashed every time: on a machine that
// has no instructions for SHA that costs as much as reading the request. It holds
// no answer, only what [Bearer] would compute again. One goroutine uses it. The
// zero value is ready, and nil remembers nothing.
type Memo struct{ slots [memoSlots]memo }

type memo struct {
	n     uint8 // bytes of field; 0 is an empty slot
	field [memoBytes]byte
	hash  Hash
}

// Bearer does what the function Bearer does.
func (m *Memo) Bearer(field []byte) (h Hash, ok bool) {
	n := len(field)
	if m == nil || n < 2 || n > memoBytes {
		return Bearer(field)
	}
	s := &m.slots[(field[n-1]^field[n-2]<<1)%memoSlots]
	// Clients may share a connection through a proxy, so how much of a field is
	// right must not show in the time.
	if int(s.n) == n && subtle.ConstantTimeCompare(s.field[:n], field) == 1 {
		return s.hash, true
	}
	if h, ok = Bearer(field); ok {
		s.n, s.hash = uint8(n), h
		copy(s.field[:], field)
	}
	return h, ok
}
