package api

import (
	"context"
	"fmt"
	"time"

	"github.com/voicemill/voicemill/gateway/internal/auth"
	"github.com/voicemill/voicemill/job"
)

// Tokens verifies access tokens. Verify may block; its errors are Unauthorized
// or Unavailable.
type Tokens interface {
	Verify(ctx context.Context, raw string) (id *auth.Identity, until time.Time, err error)
}

// verify asks who carries a token; equal questions share an answer. Answers share
// the cache with those for keys: a hash tells them apart.
func (a *API) verify(ctx context.Context, token string, h auth.Hash) (*auth.Identity, error) {
	v, err, _ := a.asked.Do(string(h[:]), func() (any, error) {
		ctx := context.WithoutCancel(ctx) // the answer serves everyone who asks meanwhile
		id, until, err := a.dep.Tokens.Verify(ctx, token)
		if err != nil {
			if job.KindOf(err) == job.Unauthorized {
				a.dep.Keys.Put(h, nil, time.Now())
			}
			return nil, err
		}
		// A job of a tenant that does not exist could be accepted and never stored.
		known, err := a.dep.Store.TenantExists(ctx, id.Tenant)
		if err != nil {
			return nil, err
		}
		if !known {
			return nil, &job.Error{Op: "api.verify", Kind: job.Forbidden, Public: fmt.Sprintf("There is no tenant %q here.", id.Tenant)}
		}
		a.dep.Keys.PutUntil(h, id, until)
		return id, nil
	})
	if err != nil {
		return nil, err
	}
	id, _ := v.(*auth.Identity)
	return id, nil
}
