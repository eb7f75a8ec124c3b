package api

import (
	"crypto/sha256"
	"time"

	"github.com/voicemill/voicemill/job"
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

// own mints the id of a job, or finds the one that the same request got before.
// arrived says that the scheduler has, or had, that job; until it does, the first request
// may have been cut off before its envelope left, so the job is sent again. ok is
// false if the call was answered.
func (a *API) own(c *Call) (id job.ID, at time.Time, arrived, ok bool) {
	minted, err := a.dep.Minter.Mint(c.Identity.Tenant, time.Now())
	if err != nil {
		a.fail(c, &job.Error{Op: "api.own", Kind: job.Internal, Err: err})
		return "", at, false, false
	}
	owner, ok := a.claim(c, string(minted))
	if !ok {
		return "", at, false, false
	}
	id = job.ID(owner)
	if at, ok = a.dep.Minter.Minted(id, c.Identity.Tenant); !ok {
		a.refuse(c, keyReused, "This Idempotency-Key was used before with another request.")
		return "", at, false, false
	}
	if id == minted {
		return id, at, false, true
	}
	if arrived, err = a.dep.Store.JobArrived(c.Context(), id); err != nil {
		a.fail(c, err)
		return "", at, false, false
	}
	return id, at, arrived, true
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

// fingerprint tells requests apart: the call and the exact body. No call that
// claims a key has a parameter in its path, which would have to be here, too.
func fingerprint(c *Call) [sha256.Size]byte {
	h := sha256.New()
	h.Write([]byte(c.Method() + " " + c.Route + "\n"))
	h.Write(c.Body())
	return [sha256.Size]byte(h.Sum(nil))
}
