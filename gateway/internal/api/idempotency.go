package api

import (
	"crypto/sha256"
)

// claim decides by the Idempotency-Key whether this request came before
// (invariant I8): it returns id if it is the first, or the id that the first
// one made. Without a key it is always the first. ok is false if the call was
// answered: a bad key, or one that was used for another request.
func (a *API) claim(c *Call, id string) (owner string, ok bool) {
	key := c.Header("idempotency-key")
	if key == nil {
		return id, true
	}
	if !goodKey(key) {
		a.refuse(c, badRequest, "Idempotency-Key must have 1 to 255 visible ASCII characters.")
		return "", false
	}
	owner, err := a.dep.Store.ClaimIdempotencyKey(c.Context(), c.Identity.Tenant, string(key), fingerprint(c), id)
	if err != nil {
		a.failClaim(c, err)
		return "", false
	}
	return owner, true
}

func goodKey(key []byte) bool {
	if len(key) == 0 || len(key) > 255 {
		return false
	}
	for _, b := range key {
		if b <= ' ' || b > '~' {
			return false
		}
	}
	return true
}

// fingerprint tells requests apart: the call and the exact body.
func fingerprint(c *Call) [sha256.Size]byte {
	h := sha256.New()
	h.Write([]byte(c.Method() + " " + c.Route + "\n"))
	h.Write(c.Body())
	return [sha256.Size]byte(h.Sum(nil))
}
