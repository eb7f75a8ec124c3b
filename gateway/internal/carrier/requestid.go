package carrier

import (
	"encoding/base32"
	"fmt"
	"io"
	"sync/atomic"
)

const idAlphabet = "0123456789abcdefghjkmnpqrstvwxyz"

// requestIDs names requests: a part that is random for the process and a
// count. It is safe for concurrent use.
type requestIDs struct {
	prefix string
	count  atomic.Uint64
}

func newRequestIDs(random io.Reader) (*requestIDs, error) {
	var b [10]byte
	if _, err := io.ReadFull(random, b[:]); err != nil {
		return nil, fmt.Errorf("read random bytes for request ids: %w", err)
	}
	return &requestIDs{prefix: "req_" + base32.NewEncoding(idAlphabet).WithPadding(base32.NoPadding).EncodeToString(b[:])}, nil
}

func (r *requestIDs) next() string { return string(r.append(nil)) }

// append appends the next id.
func (r *requestIDs) append(dst []byte) []byte {
	var text [7]byte // 35 bits; then the count repeats
	for n, i := r.count.Add(1), len(text)-1; i >= 0; n, i = n>>5, i-1 {
		text[i] = idAlphabet[n&31]
	}
	return append(append(dst, r.prefix...), text[:]...)
}

// requestID returns what the client calls its request if that is well-formed.
func requestID(field []byte) (string, bool) {
	if !goodRequestID(field) {
		return "", false
	}
	return string(field), true
}

func goodRequestID(field []byte) bool {
	if len(field) == 0 || len(field) > 64 {
		return false
	}
	for _, c := range field {
		if !letterOrDigit(c) && c != '.' && c != '_' && c != '-' {
			return false
		}
	}
	return true
}

func letterOrDigit(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
}
