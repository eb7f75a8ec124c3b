package auth

import (
	"crypto/sha256"
	"crypto/x509"
	"slices"
	"strings"

	"github.com/voicemill/voicemill/job"
)

// Scope is one thing a key may do.
type Scope string

// The scopes.
const (
	JobsWrite Scope = "jobs:write"
	JobsRead  Scope = "jobs:read"
	Admin     Scope = "admin"
)

// Scopes lists every scope.
func Scopes() []Scope { return []Scope{JobsWrite, JobsRead, Admin} }

// Identity is who calls. The zero value may do nothing.
type Identity struct {
	KeyID  string
	Tenant job.Tenant
	Scopes []Scope
}

// May reports whether the identity has one of the scopes.
func (id Identity) May(any ...Scope) bool {
	return slices.ContainsFunc(any, func(s Scope) bool { return slices.Contains(id.Scopes, s) })
}

// Hash is the SHA-256 of a key, the only form in which a key is kept.
type Hash [sha256.Size]byte

// HashKey returns the hash of a key.
func HashKey(secret string) Hash { return sha256.Sum256([]byte(secret)) }

// HashCertificate returns the hash of the public key (SubjectPublicKeyInfo in DER) of
// a client's own certificate, the first of its chain; zero without one. It stands for a
// key: no secret of the shape of one has the same hash.
func HashCertificate(chain []*x509.Certificate) Hash {
	if len(chain) == 0 {
		return Hash{}
	}
	return sha256.Sum256(chain[0].RawSubjectPublicKeyInfo)
}

const keyPrefix = "vm_"

// Bearer reads the value of an Authorization field. ok is false if it is not a
// bearer token of the shape of a key; such a token needs no look-up.
func Bearer(field []byte) (h Hash, ok bool) {
	token := bearer(field)
	if n := len(token) - len(keyPrefix); n != chosenChars && n != madeChars || string(token[:len(keyPrefix)]) != keyPrefix {
		return Hash{}, false
	}
	return sha256.Sum256(token), true
}

// maxToken is more than the access tokens of the known issuers have.
const maxToken = 8 << 10

// Token reads the value of an Authorization field. ok is false if it is not a
// bearer token of the shape of a signed JWT (RFC 7515, compact serialization).
// token looks into field.
func Token(field []byte) (token []byte, h Hash, ok bool) {
	token = bearer(field)
	if len(token) == 0 || len(token) > maxToken {
		return nil, Hash{}, false
	}
	dots, last := 0, byte('.')
	for _, c := range token {
		switch {
		case c == '.' && last == '.':
			return nil, Hash{}, false
		case c == '.':
			dots++
		case (c < '0' || c > '9') && (c|0x20 < 'a' || c|0x20 > 'z') && c != '-' && c != '_':
			return nil, Hash{}, false
		}
		last = c
	}
	if dots != 2 || last == '.' {
		return nil, Hash{}, false
	}
	return token, sha256.Sum256(token), true
}

// bearer returns what follows the scheme Bearer, or nothing.
func bearer(field []byte) []byte {
	const scheme = "Bearer "
	if len(field) <= len(scheme) || !strings.EqualFold(string(field[:len(scheme)]), scheme) {
		return nil
	}
	token := field[len(scheme):]
	for len(token) > 0 && token[0] == ' ' { // RFC 6750 allows one space, RFC 9110 more
		token = token[1:]
	}
	return token
}
