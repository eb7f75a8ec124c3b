package api

import (
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/voicemill/voicemill/api/jobdoc"
	"github.com/voicemill/voicemill/gateway/internal/auth"
	"github.com/voicemill/voicemill/gateway/internal/store"
	"github.com/voicemill/voicemill/job"
)

type keyDocument struct {
	ID          string       `json:"id"`
	Name        string       `json:"name"`
	Scopes      []auth.Scope `json:"scopes"`
	Certificate bool         `json:"certificate"`
	CreatedAt   jobdoc.Time  `json:"created_at"`
	RevokedAt   *jobdoc.Time `json:"revoked_at,omitempty"`
	Secret      string       `json:"secret,omitempty"` // of a new key only
}

func documentOfKey(k store.Key) keyDocument {
	d := keyDocument{ID: k.ID, Name: k.Name, Scopes: k.Scopes, Certificate: k.Certificate, CreatedAt: jobdoc.Time{Time: k.CreatedAt}}
	if k.RevokedAt != nil {
		d.RevokedAt = &jobdoc.Time{Time: *k.RevokedAt}
	}
	return d
}

func (a *API) listKeys(c *Call) {
	q, ok := a.query(c, "limit", "cursor")
	if !ok {
		return
	}
	after, limit, ok := a.page(c, q)
	if !ok {
		return
	}
	keys, err := a.dep.Store.ListKeys(c.Context(), c.Identity.Tenant, after, limit+1)
	if err != nil {
		a.fail(c, err)
		return
	}
	page := list[keyDocument]{Items: []keyDocument{}}
	if len(keys) > limit {
		keys = keys[:limit]
		page.Next = store.Cursor{At: keys[limit-1].CreatedAt, ID: keys[limit-1].ID}.String()
	}
	for _, k := range keys {
		page.Items = append(page.Items, documentOfKey(k))
	}
	a.reply(c, http.StatusOK, &page)
}

type keyRequest struct {
	Name        string       `json:"name"`
	Scopes      []auth.Scope `json:"scopes"`
	Certificate bool         `json:"certificate"`
}

const maxKeyName = 200

func (r *keyRequest) faults() (faults job.Faults) {
	bad := func(pointer, detail string) {
		faults.Add(job.Fault{Pointer: pointer, Detail: detail, Kind: job.Invalid})
	}
	if len([]rune(r.Name)) > maxKeyName || slices.ContainsFunc([]rune(r.Name), unicode.IsControl) {
		bad("/name", "must have at most 200 characters and no control characters")
	}
	if len(r.Scopes) == 0 {
		bad("/scopes", "must name at least one of "+joined(auth.Scopes()))
	}
	for i, s := range r.Scopes {
		if !slices.Contains(auth.Scopes(), s) {
			bad("/scopes", "scope \""+clip(string(s))+"\" is not known; known: "+joined(auth.Scopes()))
		} else if slices.Contains(r.Scopes[:i], s) {
			bad("/scopes", "scope "+string(s)+" is named twice")
		}
		if len(faults.List) > len(auth.Scopes()) {
			break
		}
	}
	return faults
}

func (a *API) createKey(c *Call) {
	var r keyRequest
	faults, ok := decode(a, c, a.keys, &r)
	if !ok {
		return
	}
	// Only who holds a certificate's private key may make it a key of theirs: a
	// public key that others could register would lead its owner into their tenant.
	if r.Certificate && c.Certificate == (auth.Hash{}) {
		faults.Add(job.Fault{Pointer: "/certificate", Detail: "this connection shows no client certificate", Kind: job.Invalid})
	}
	if faults = merge(faults, r.faults()); faults.Any() {
		a.refuseFaults(c, faults)
		return
	}
	id, err := a.dep.Store.NewKeyID()
	if err != nil {
		a.fail(c, err)
		return
	}
	owner, ok := a.claim(c, id)
	if !ok {
		return
	}
	secret, hash := "", c.Certificate
	if !r.Certificate {
		if secret, err = a.dep.Secrets.Make(); err != nil {
			a.fail(c, err)
			return
		}
		hash = auth.HashKey(secret)
	}
	k, err := a.dep.Store.RegisterKey(c.Context(), c.Identity.Tenant, store.Key{ID: owner, Name: r.Name, Scopes: r.Scopes, Certificate: r.Certificate}, hash)
	switch taken := err != nil && job.KindOf(err) == job.Conflict; {
	case taken && owner != id: // unless the first request was cut off before it made the key
		a.refuse(c, conflict, "This Idempotency-Key has created the API key "+owner+" before; its secret was shown then.")
		return
	case taken && r.Certificate:
		a.refuse(c, conflict, "The public key of this certificate is an API key already, or was one; a key that was revoked stays so.")
		return
	case err != nil:
		a.fail(c, err)
		return
	}
	if r.Certificate { // it may have been asked for a moment ago, and not been there
		a.dep.Keys.Put(c.Certificate, &auth.Identity{KeyID: k.ID, Tenant: c.Identity.Tenant, Scopes: k.Scopes}, time.Now())
	}
	d := documentOfKey(k)
	d.Secret = secret
	a.reply(c, http.StatusCreated, &d)
}

func (a *API) revokeKey(c *Call) {
	id := c.params[0]
	byKey := strings.HasPrefix(c.Identity.KeyID, "key_") // the issuer of a token lets its owner in again
	err := a.dep.Store.RevokeKey(c.Context(), c.Identity.Tenant, id, store.KeepAdmin(byKey))
	var known *job.Error
	if errors.As(err, &known) && known.Kind == job.NotFound {
		a.refuse(c, notFound, "There is no such API key.")
		return
	}
	if err != nil {
		a.fail(c, err)
		return
	}
	a.dep.Keys.Forget(id)
	a.shutOut(id)
	c.Reply(&Answer{Status: http.StatusNoContent})
}

func (a *API) callbackSecret(c *Call) {
	secret, err := a.dep.Store.CallbackSecret(c.Context(), c.Identity.Tenant)
	if err != nil {
		a.fail(c, err)
		return
	}
	a.reply(c, http.StatusOK, struct {
		Secret string `json:"secret"`
	}{secret})
}

type voiceDocument struct {
	Name       string `json:"name"`
	Language   string `json:"language"`
	Engine     string `json:"engine"`
	SampleRate int    `json:"sample_rate"`
	Default    bool   `json:"default"`
}

func (a *API) listVoices(c *Call) {
	page := list[voiceDocument]{Items: []voiceDocument{}}
	for _, v := range a.dep.Voices.All() {
		page.Items = append(page.Items, voiceDocument{v.Name, v.Language, v.Engine, v.SampleRate, v.Default})
	}
	a.reply(c, http.StatusOK, &page)
}
