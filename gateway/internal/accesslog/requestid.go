package accesslog

import (
	"encoding/base32"
	"fmt"
	"io"
	"sync/atomic"
)

const idAlphabet = "0123456789abcdefghjkmnpqrstvwxyz"

// RequestIDs names requests: a part that is random for the process and a
// count. It is safe for concurrent use.
type RequestIDs struct {
	prefix string
	count  atomic.Uint64
}

// NewRequestIDs reads the random part.
func NewRequestIDs(random io.Reader) (*RequestIDs, error) {
	var b [10]byte
	if _, err := io.ReadFull(random, b[:]); err != nil {
		return nil, fmt.Errorf("read random bytes for request ids: %w", err)
	}
	return &RequestIDs{prefix: "req_" + base32.NewEncoding(idAlphabet).WithPadding(base32.NoPadding).EncodeToString(b[:])}, nil
}

// Next returns the next id.
func (r *RequestIDs) Next() string { return string(r.Append(nil)) }

// Append appends the next id.
func (r *RequestIDs) Append(dst []byte) []byte {
	var text [7]byte // 35 bits; then the count repeats
	for n, i := r.count.Add(1), len(text)-1; i >= 0; n, i = n>>5, i-1 {
		text[i] = idAlphabet[n&31]
	}
	return append(append(dst, r.prefix...), text[:]...)
}

// GoodRequestID reports whether what a client calls its request is well-formed.
func GoodRequestID[T ~string | ~[]byte](field T) bool {
	if len(field) == 0 || len(field) > 64 {
		return false
	}
	for i := range len(field) {
		if c := field[i]; !letterOrDigit(c) && c != '.' && c != '_' && c != '-' {
			return false
		}
	}
	return true
}

func letterOrDigit(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
}
