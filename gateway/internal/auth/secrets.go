package auth

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base32"
	"fmt"
	"io"
)

const (
	secretRandom = 16 // bytes: 2^128
	secretTag    = 6  // bytes: a guess is taken for one of ours one time in 2^48

	chosenChars = 26 // of a secret that an operator has chosen, behind the prefix
	madeChars   = 36 // of one that was made here
)

// secretEncoding is Crockford's alphabet in lower case, as that of ids.
var secretEncoding = base32.NewEncoding("0123456789abcdefghjkmnpqrstvwxyz").WithPadding(base32.NoPadding)

// Secrets makes the secrets of API keys and knows them again: each carries a tag
// keyed by the deployment, so that one which nobody has made costs no query. It is
// safe for concurrent use if its random source is.
type Secrets struct {
	key    []byte
	random io.Reader
}

// NewSecrets returns those of the deployment that key is the secret of. random may
// be nil for who makes none.
func NewSecrets(key []byte, random io.Reader) *Secrets { return &Secrets{key, random} }

// Make returns a new secret, which is no key until it is registered.
func (s *Secrets) Make() (string, error) {
	var b [secretRandom + secretTag]byte
	if _, err := io.ReadFull(s.random, b[:secretRandom]); err != nil {
		return "", fmt.Errorf("read random bytes for an API key: %w", err)
	}
	copy(b[secretRandom:], s.tag(b[:secretRandom]))
	return keyPrefix + secretEncoding.EncodeToString(b[:]), nil
}

// Made reports whether the secret in an Authorization field was made with this
// key. One that an operator has chosen was not.
func (s *Secrets) Made(field []byte) bool {
	token := bearer(field)
	if len(token) != len(keyPrefix)+madeChars {
		return false
	}
	var b [secretRandom + secretTag + 1]byte
	n, err := secretEncoding.Decode(b[:], token[len(keyPrefix):])
	return err == nil && secretEncoding.EncodeToString(b[:n]) == string(token[len(keyPrefix):]) && hmac.Equal(b[secretRandom:n], s.tag(b[:secretRandom]))
}

// tag is keyed as that of a job id is, but no tenant begins with a zero byte, so
// neither is ever the other.
func (s *Secrets) tag(random []byte) []byte {
	h := hmac.New(sha256.New, s.key)
	h.Write([]byte("\x00api key\x00"))
	h.Write(random)
	return h.Sum(nil)[:secretTag]
}
