package operation

import (
	"context"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/voicemill/voicemill/gateway/internal/auth"
	"github.com/voicemill/voicemill/gateway/internal/problem"
	"github.com/voicemill/voicemill/gateway/internal/store"
	"github.com/voicemill/voicemill/job"
)

// ListKeys returns at most limit API keys after the cursor, newest first; next leads
// on if there are more.
func (o *Operations) ListKeys(ctx context.Context, c *Caller, after store.Cursor, limit int) (page []store.Key, next string, err error) {
	page, err = o.dep.Store.ListKeys(ctx, c.Tenant, after, limit+1)
	page, next = paged(page, limit, func(k *store.Key) store.Cursor { return store.Cursor{At: k.CreatedAt, ID: k.ID} })
	return page, next, err
}

// KeyRequest asks for an API key.
type KeyRequest struct {
	Name        string       `json:"name"`
	Scopes      []auth.Scope `json:"scopes"`
	Certificate bool         `json:"certificate"`
}

// nameFault refuses what is no name of a key or a bucket.
func nameFault(name string, faults *job.Faults) {
	if utf8.RuneCountInString(name) > 200 || strings.ContainsFunc(name, unicode.IsControl) {
		faults.Add(job.Fault{Pointer: "/name", Detail: "must have at most 200 characters and no control characters", Kind: job.Invalid})
	}
}

func (r *KeyRequest) faults() (faults job.Faults) {
	bad := func(pointer, detail string) {
		faults.Add(job.Fault{Pointer: pointer, Detail: detail, Kind: job.Invalid})
	}
	nameFault(r.Name, &faults)
	if len(r.Scopes) == 0 {
		bad("/scopes", "must name at least one of "+Joined(auth.Scopes()))
	}
	for i, s := range r.Scopes {
		if !slices.Contains(auth.Scopes(), s) {
			bad("/scopes", "scope \""+problem.Clip(string(s))+"\" is not known; known: "+Joined(auth.Scopes()))
		} else if slices.Contains(r.Scopes[:i], s) {
			bad("/scopes", "scope "+string(s)+" is named twice")
		}
		if len(faults.List) > len(auth.Scopes()) {
			break
		}
	}
	return faults
}

// CreateKey makes an API key, or one of the certificate of the connection, and
// returns it with its secret.
func (o *Operations) CreateKey(ctx context.Context, c *Caller, r *KeyRequest, shape job.Faults, once *Once, certificate auth.Hash) (k store.Key, secret string, err error) {
	// Only who holds a certificate's private key may make it a key of theirs: a
	// public key that others could register would lead its owner into their tenant.
	if r.Certificate && certificate == (auth.Hash{}) {
		shape.Add(job.Fault{Pointer: "/certificate", Detail: "this connection shows no client certificate", Kind: job.Invalid})
	}
	if faults := merge(shape, r.faults()); faults.Any() {
		return k, "", problem.Faulty(faults)
	}
	id, err := o.dep.Store.NewKeyID()
	if err != nil {
		return k, "", err
	}
	owner, err := o.claim(ctx, c, once, id)
	if err != nil {
		return k, "", err
	}
	hash := certificate
	if !r.Certificate {
		if secret, err = o.dep.Secrets.Make(); err != nil {
			return k, "", err
		}
		hash = auth.HashKey(secret)
	}
	k, err = o.dep.Store.RegisterKey(ctx, c.Tenant, store.Key{ID: owner, Name: r.Name, Scopes: r.Scopes, Certificate: r.Certificate}, hash)
	switch taken := err != nil && job.KindOf(err) == job.Conflict; {
	case taken && owner != id: // unless the first request was cut off before it made the key
		return k, "", problem.New(problem.Conflict, "This Idempotency-Key has created the API key "+owner+" before; its secret was shown then.")
	case taken && r.Certificate:
		return k, "", problem.New(problem.Conflict, "The public key of this certificate is an API key already, or was one; a key that was revoked stays so.")
	case err != nil:
		return k, "", err
	}
	if r.Certificate { // it may have been asked for a moment ago, and not been there
		o.dep.Keys.Put(certificate, &auth.Identity{KeyID: k.ID, Tenant: c.Tenant, Scopes: k.Scopes}, time.Now())
	}
	return k, secret, nil
}

// RevokeKey ends an API key, and the watches that were begun with it.
func (o *Operations) RevokeKey(ctx context.Context, c *Caller, id string) error {
	byKey := strings.HasPrefix(c.KeyID, "key_") // the issuer of a token lets its owner in again
	if err := o.dep.Store.RevokeKey(ctx, c.Tenant, id, store.KeepAdmin(byKey)); err != nil {
		if job.KindOf(err) == job.NotFound {
			return problem.New(problem.NotFound, "There is no such API key.")
		}
		return err
	}
	o.dep.Keys.Forget(id)
	o.watches.end(id)
	return nil
}

// CallbackSecret returns what the callbacks of the caller's tenant are signed with.
func (o *Operations) CallbackSecret(ctx context.Context, c *Caller) (string, error) {
	return o.dep.Store.CallbackSecret(ctx, c.Tenant)
}

// Joined lists values for a sentence.
func Joined[T ~string](list []T) string {
	said := make([]string, len(list))
	for i, s := range list {
		said[i] = string(s)
	}
	return strings.Join(said, ", ")
}

// SigningKey returns the public key that manifests are signed with, in base64.
func (o *Operations) SigningKey(ctx context.Context) (string, error) {
	return o.dep.Store.SigningKey(ctx)
}
