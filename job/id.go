package job

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base32"
	"encoding/binary"
	"fmt"
	"io"
	"strings"
	"time"
)

// ID names a job for ever. It is opaque to clients: "job_" and 39 lower-case
// letters and digits.
type ID string

// Tenant names who owns jobs, keys, voices and quota. It is 1 to 64 of
// [a-z0-9_-].
type Tenant string

const (
	jobPrefix = "job_"
	bodyBytes = 16 // 6 of time, 10 random: 2^80 per millisecond
	tagBytes  = 8  // a forged id passes one time in 2^64
)

// LongestArrival is how long after it was accepted a job may still be on its way to
// its row. What is older and has none was deleted. The schema's tombstones stand as long.
const LongestArrival = 30 * 24 * time.Hour

// Crockford's alphabet in lower case: no i, l, o, u, so ids survive being read aloud.
var idEncoding = base32.NewEncoding("0123456789abcdefghjkmnpqrstvwxyz").WithPadding(base32.NoPadding)

// Minter makes and recognises job ids. An id carries the millisecond it was
// minted at and a tag keyed by the deployment's secret and the tenant, so that
// any gateway can tell a minted id from a guessed one without asking the
// database (invariant I2). A Minter is safe for concurrent use if its random
// source is; crypto/rand.Reader is.
type Minter struct {
	key  []byte
	rand io.Reader
}

// NewMinter returns a Minter. key is the deployment's id secret, at least 16
// bytes; random is read for each id.
func NewMinter(key []byte, random io.Reader) (*Minter, error) {
	if len(key) < 16 {
		return nil, fmt.Errorf("id key has %d bytes; want at least 16", len(key))
	}
	return &Minter{key: key, rand: random}, nil
}

// Mint returns a new id for tenant at now. It fails only if the random source does.
func (m *Minter) Mint(tenant Tenant, now time.Time) (ID, error) {
	var b [bodyBytes + tagBytes]byte
	binary.BigEndian.PutUint64(b[:8], uint64(now.UnixMilli())<<16) //nolint:gosec // years after 1970 are positive
	if _, err := io.ReadFull(m.rand, b[6:bodyBytes]); err != nil {
		return "", fmt.Errorf("read random bytes for a job id: %w", err)
	}
	copy(b[bodyBytes:], m.tag(tenant, b[:bodyBytes]))
	return ID(jobPrefix + idEncoding.EncodeToString(b[:])), nil
}

// Minted reports whether id was minted for tenant with this key, and when. It
// compares the tag in constant time.
func (m *Minter) Minted(id ID, tenant Tenant) (at time.Time, ok bool) {
	enc, found := strings.CutPrefix(string(id), jobPrefix)
	if !found {
		return time.Time{}, false
	}
	b, err := idEncoding.DecodeString(enc)
	if err != nil || len(b) != bodyBytes+tagBytes || idEncoding.EncodeToString(b) != enc {
		return time.Time{}, false
	}
	if !hmac.Equal(b[bodyBytes:], m.tag(tenant, b[:bodyBytes])) {
		return time.Time{}, false
	}
	ms := binary.BigEndian.Uint64(b[:8]) >> 16
	return time.UnixMilli(int64(ms)).UTC(), true //nolint:gosec // 48 bits fit
}

func (m *Minter) tag(tenant Tenant, body []byte) []byte {
	h := hmac.New(sha256.New, m.key)
	h.Write([]byte(tenant))
	h.Write([]byte{0})
	h.Write(body)
	return h.Sum(nil)[:tagBytes]
}

// NewToken returns prefix followed by 26 random characters (130 bits), for ids
// that need no tag (upl_, dlv_, key_) and for key secrets.
func NewToken(prefix string, random io.Reader) (string, error) {
	var b [16]byte
	if _, err := io.ReadFull(random, b[:]); err != nil {
		return "", fmt.Errorf("read random bytes for a %s id: %w", prefix, err)
	}
	return prefix + idEncoding.EncodeToString(b[:]), nil
}
