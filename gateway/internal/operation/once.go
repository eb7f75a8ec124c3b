package operation

import (
	"context"
	"crypto/sha256"
	"time"

	"github.com/voicemill/voicemill/gateway/internal/problem"
	"github.com/voicemill/voicemill/job"
)

// Once says which request this is, so that its repetition leads to what it led to.
// The zero value is a request that is never the same as another.
type Once struct {
	Given   bool              // a name for the request came with it
	Key     string            // the name
	Request [sha256.Size]byte // what else must be the same
}

// Check refuses keys that are none.
func (r *Once) Check() error {
	good := len(r.Key) > 0 && len(r.Key) <= 255
	for _, b := range []byte(r.Key) {
		good = good && b > ' ' && b <= '~'
	}
	if !good {
		return problem.New(problem.BadRequest, "Idempotency-Key must have 1 to 255 visible ASCII characters.")
	}
	return nil
}

// claim decides by the key whether this request came before (invariant I8): it
// returns id if it is the first, or the id that the first one made.
func (o *Operations) claim(ctx context.Context, c *Caller, r *Once, id string) (owner string, err error) {
	if !r.Given {
		return id, nil
	}
	if err := r.Check(); err != nil {
		return "", err
	}
	owner, err = o.dep.Store.ClaimIdempotencyKey(ctx, c.Tenant, r.Key, r.Request, id)
	if err != nil && job.KindOf(err) == job.Conflict {
		return "", &problem.Error{Slug: problem.KeyReused, Detail: sayReused, Err: err}
	}
	return owner, err
}

const sayReused = "This Idempotency-Key was used before with another request."

// owned is the id of a job.
type owned struct {
	id      job.ID
	at      time.Time // minted
	arrived bool      // the scheduler has, or had, the job
}

// own mints the id of a job, or finds the one that the same request got before.
// Until the scheduler has, or had, that job, the first request may have been cut off before
// its envelope left, so the job is sent again.
func (o *Operations) own(ctx context.Context, c *Caller, r *Once) (owned, error) {
	minted, err := o.dep.Minter.Mint(c.Tenant, time.Now())
	if err != nil {
		return owned{}, &job.Error{Op: "operation.own", Kind: job.Internal, Err: err}
	}
	owner, err := o.claim(ctx, c, r, string(minted))
	if err != nil {
		return owned{}, err
	}
	own := owned{id: job.ID(owner)}
	var ok bool
	if own.at, ok = o.dep.Minter.Minted(own.id, c.Tenant); !ok {
		return owned{}, problem.New(problem.KeyReused, sayReused)
	}
	if own.id != minted {
		own.arrived, err = o.dep.Store.JobArrived(ctx, own.id)
	}
	return own, err
}
