package operation

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"log/slog"
	"time"

	"github.com/voicemill/voicemill/gateway/internal/auth"
	"github.com/voicemill/voicemill/gateway/internal/limit"
	"github.com/voicemill/voicemill/gateway/internal/problem"
	"github.com/voicemill/voicemill/gateway/internal/stage"
	"github.com/voicemill/voicemill/job"
)

// Caller is who calls, and what goes with the call whatever is called.
type Caller struct {
	Shown         Shown
	auth.Identity               // of who shows that; known once the call was admitted
	Quota         limit.Verdict // what the caller may still do; likewise
	RequestID     string
	Traceparent   string // well-formed or empty
	Tracestate    string // likewise; only with the client's own Traceparent
	Started       time.Time
}

// Shown is what somebody shows to be let in: an API key, an access token or the
// certificate of the connection. The zero value is nothing.
type Shown struct {
	Hash        auth.Hash
	Certificate bool   // Hash is that of the public key of a client certificate
	field       []byte // what Hash was made from
	token       bool   // it is an access token
}

// Show reads the value of an Authorization field; without one the certificate
// counts, if there is one. ok is false if nothing was shown that could let anybody
// in. s looks into authorization. memo may be nil.
func (o *Operations) Show(authorization []byte, certificate auth.Hash, memo *auth.Memo) (s Shown, ok bool) {
	if authorization == nil {
		return Shown{Hash: certificate, Certificate: true}, certificate != (auth.Hash{})
	}
	if s.Hash, ok = memo.Bearer(authorization); !ok && o.dep.Tokens != nil {
		_, s.Hash, ok = auth.Token(authorization)
		s.token = ok
	}
	s.field = authorization
	return s, ok
}

// Keep returns what may be kept for the calls of a connection: it holds no API key.
func (s Shown) Keep() Shown {
	if s.field = bytes.Clone(s.field); !s.token {
		s.field = nil
	}
	return s
}

// nobody says that what was shown lets nobody in.
func (s *Shown) nobody() *problem.Error {
	switch {
	case s.token:
		return problem.New(problem.Unauthorized, "This access token is not valid.")
	case s.Certificate:
		return problem.New(problem.Unauthorized, "The client certificate is not registered as an API key, or the key was revoked.")
	}
	return problem.New(problem.Unauthorized, "This API key does not exist or was revoked.")
}

// Admit finds out who calls, and counts the call against the limits of the key and
// the tenant. It refuses who may do none of scopes.
func (o *Operations) Admit(ctx context.Context, c *Caller, scopes ...auth.Scope) error {
	id, err := o.identify(ctx, &c.Shown, c.Started)
	if err != nil {
		return err
	}
	if id == nil {
		return c.Shown.nobody()
	}
	c.Identity = *id
	if c.Quota = o.dep.Guard.Request(id.KeyID, string(id.Tenant), c.Started); c.Quota.Refused() {
		return tooMany(c.Quota.Quota, c.Quota.Wait)
	}
	if !id.May(scopes...) {
		return problem.Newf(problem.Forbidden, "This needs the scope %s.", scopes[0])
	}
	return nil
}

// Knows reports whether [Operations.Admit] asks nobody, so that an event loop may call
// it.
func (o *Operations) Knows(c *Caller) bool {
	_, fresh := o.dep.Keys.Get(c.Shown.Hash, c.Started)
	return fresh
}

// guessRate is how many API keys that were not made here and do not exist the store
// is asked for. An operator may choose a key, so they cannot be refused unasked.
//
//nolint:gochecknoglobals // a constant
var guessRate = limit.Rate{Count: 50, Per: time.Second, Burst: 200}

// identify returns who shows s, nil if nobody does.
func (o *Operations) identify(ctx context.Context, s *Shown, at time.Time) (*auth.Identity, error) {
	if id, fresh := o.dep.Keys.Get(s.Hash, at); fresh {
		return id, nil
	}
	defer stage.Enter(ctx, stage.Auth)()
	guess := s.field != nil && !s.token && !o.dep.Secrets.Made(s.field)
	if guess {
		if wait := o.guesses.Take(at); wait > 0 {
			return nil, problem.Shed(problem.Overloaded, shedGuesses, wait, "Too many unknown API keys are tried right now; try again later.")
		}
	}
	id, err := o.ask(ctx, s)
	if guess && id != nil {
		o.guesses.Give()
	}
	return id, err
}

// ask asks the store or the issuer who shows s.
func (o *Operations) ask(ctx context.Context, s *Shown) (*auth.Identity, error) {
	if s.token {
		token, _, _ := auth.Token(s.field)
		return o.verify(ctx, string(token), s.Hash)
	}
	return o.find(ctx, s.Hash)
}

// shared asks, once for all who ask the same meanwhile: it goes on if one of them leaves.
func (o *Operations) shared(ctx context.Context, what string, ask func(context.Context) (*auth.Identity, error)) (*auth.Identity, error) {
	v, err, _ := o.asked.Do(what, func() (any, error) { return ask(context.WithoutCancel(ctx)) })
	id, _ := v.(*auth.Identity)
	return id, err
}

// find asks the store who a key belongs to; equal questions share an answer, unless
// a key was made or revoked between them.
func (o *Operations) find(ctx context.Context, h auth.Hash) (*auth.Identity, error) {
	since := o.dep.Keys.Asking()
	return o.shared(ctx, string(binary.BigEndian.AppendUint64(h[:], since)), func(ctx context.Context) (*auth.Identity, error) {
		id, err := o.dep.Store.FindKey(ctx, h)
		if err == nil {
			o.dep.Keys.PutAnswer(h, id, time.Now(), since)
		}
		return id, err
	})
}

// Tokens verifies access tokens. Verify may block; its errors are Unauthorized
// or Unavailable.
type Tokens interface {
	Verify(ctx context.Context, raw string) (id *auth.Identity, until time.Time, err error)
}

// verify asks who carries a token; equal questions share an answer. Answers share
// the cache with those for keys: a hash tells them apart.
func (o *Operations) verify(ctx context.Context, token string, h auth.Hash) (*auth.Identity, error) {
	return o.shared(ctx, string(h[:]), func(ctx context.Context) (*auth.Identity, error) {
		id, until, err := o.dep.Tokens.Verify(ctx, token)
		if err != nil {
			if job.KindOf(err) == job.Unauthorized {
				o.dep.Keys.Put(h, nil, time.Now())
			}
			return nil, err
		}
		// A job of a tenant that does not exist could be accepted and never stored.
		known, err := o.dep.Store.TenantExists(ctx, id.Tenant)
		if err != nil {
			return nil, err
		}
		if !known {
			return nil, &job.Error{Op: "operation.verify", Kind: job.Forbidden, Public: fmt.Sprintf("There is no tenant %q here.", id.Tenant)}
		}
		o.dep.Keys.PutUntil(h, id, until)
		return id, nil
	})
}

// RenewKeys looks up the keys in use before they stop being believed, until ctx
// is done. What the store cannot say is believed for as long as it would be
// without.
func (o *Operations) RenewKeys(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case h := <-o.dep.Keys.Due():
			if _, err := o.find(ctx, h); err != nil {
				o.dep.Log.LogAttrs(ctx, slog.LevelDebug, "a key waits to be looked up again", slog.Any("error", err))
			}
		}
	}
}

// revoked returns why what the caller has shown lets nobody in any more; nil if it
// does, or if that cannot be known now.
func (o *Operations) revoked(ctx context.Context, c *Caller) error {
	id, known := o.dep.Keys.Get(c.Shown.Hash, time.Now())
	if !known {
		var err error
		if id, err = o.ask(ctx, &c.Shown); err != nil && job.KindOf(err) != job.Unauthorized && job.KindOf(err) != job.Forbidden {
			return nil
		}
	}
	if id != nil {
		return nil
	}
	return c.Shown.nobody()
}
