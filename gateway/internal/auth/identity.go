package auth

import (
	"crypto/sha256"
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

const keyPrefix = "vm_"

// Bearer reads the value of an Authorization field. ok is false if it is not a
// bearer token of the shape of a key; such a token needs no look-up.
func Bearer(field []byte) (h Hash, ok bool) {
	const scheme = "Bearer "
	if len(field) <= len(scheme) || len(field) > 256 || !strings.EqualFold(string(field[:len(scheme)]), scheme) {
		return Hash{}, false
	}
	token := field[len(scheme):]
	for len(token) > 0 && token[0] == ' ' { // RFC 6750 allows one space, RFC 9110 more
		token = token[1:]
	}
	if len(token) != len(keyPrefix)+26 || string(token[:len(keyPrefix)]) != keyPrefix {
		return Hash{}, false
	}
	return sha256.Sum256(token), true
}
