package gateway

import (
	"context"
	"fmt"
	"io"
	"slices"

	"github.com/voicemill/voicemill/gateway/internal/auth"
	"github.com/voicemill/voicemill/gateway/internal/store"
	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/platform/pg"
)

// Scopes lists what a key may be allowed.
func Scopes() []string {
	var list []string
	for _, s := range auth.Scopes() {
		list = append(list, string(s))
	}
	return list
}

// CreateKey stores a new API key of a tenant, which must exist, and returns its
// secret. It is for whoever sets up a deployment; clients use POST /v1/keys.
func CreateKey(ctx context.Context, db *pg.Pool, tenant job.Tenant, name string, scopes []string, random io.Reader) (secret string, err error) {
	var allowed []auth.Scope
	for _, s := range scopes {
		if !slices.Contains(auth.Scopes(), auth.Scope(s)) {
			return "", &job.Error{Op: "gateway.CreateKey", Kind: job.Invalid, Public: fmt.Sprintf("Scope %q is not known.", s)}
		}
		allowed = append(allowed, auth.Scope(s))
	}
	ring, err := OpenKeyring(db, tenant, random)
	if err != nil {
		return "", err
	}
	return ring.create(ctx, name, allowed)
}

// Tenant is one owner of jobs.
type Tenant = store.Tenant

// Tenants lists all tenants by name. Like [Keyring] it is for whoever has the
// database: no API key reaches beyond its tenant.
func Tenants(ctx context.Context, db *pg.Pool) ([]Tenant, error) {
	st, err := store.New(db, nil)
	if err != nil {
		return nil, err
	}
	return st.Tenants(ctx)
}

// Keyring is the keys of one tenant, for whoever sets up a deployment.
type Keyring struct {
	db     *pg.Pool
	store  *store.Store
	tenant job.Tenant
	random io.Reader
}

// OpenKeyring returns the keys of a tenant, which must exist.
func OpenKeyring(db *pg.Pool, tenant job.Tenant, random io.Reader) (*Keyring, error) {
	st, err := store.New(db, random)
	if err != nil {
		return nil, err
	}
	return &Keyring{db: db, store: st, tenant: tenant, random: random}, nil
}

// Secret returns a new secret, which is no key until it is registered.
func (k *Keyring) Secret(ctx context.Context) (string, error) {
	key, err := idSecret(ctx, k.db, k.random)
	if err != nil {
		return "", err
	}
	return auth.NewSecrets(key, k.random).Make()
}

// create makes a key and returns its secret.
func (k *Keyring) create(ctx context.Context, name string, scopes []auth.Scope) (secret string, err error) {
	if secret, err = k.Secret(ctx); err != nil {
		return "", err
	}
	return secret, k.register(ctx, name, scopes, auth.HashKey(secret))
}

func (k *Keyring) register(ctx context.Context, name string, scopes []auth.Scope, hash auth.Hash) error {
	id, err := k.store.NewKeyID()
	if err != nil {
		return err
	}
	_, err = k.store.RegisterKey(ctx, k.tenant, store.Key{ID: id, Name: name, Scopes: scopes}, hash)
	return err
}

// idSecret returns the deployment's secret that job ids and API keys are tagged with.
func idSecret(ctx context.Context, db *pg.Pool, random io.Reader) ([]byte, error) {
	key := make([]byte, idKeyBytes)
	if _, err := io.ReadFull(random, key); err != nil {
		return nil, fmt.Errorf("read random bytes: %w", err)
	}
	return pg.Setting(ctx, db, idKey, func() []byte { return key })
}

// Registered reports whether secret is a key of the tenant that works.
func (k *Keyring) Registered(ctx context.Context, secret string) (bool, error) {
	id, err := k.store.FindKey(ctx, auth.HashKey(secret))
	return id != nil && id.Tenant == k.tenant, err
}

// Register makes secret a key with every scope. The error is Invalid if it has
// not the shape of one, Conflict if it is or was a key.
func (k *Keyring) Register(ctx context.Context, name, secret string) error {
	hash, ok := auth.Bearer([]byte("Bearer " + secret))
	if !ok {
		return &job.Error{Op: "gateway.Register", Kind: job.Invalid, Public: "That has not the shape of an API key."}
	}
	return k.register(ctx, name, auth.Scopes(), hash)
}

// Administered reports whether a key with the scope admin works.
func (k *Keyring) Administered(ctx context.Context) (bool, error) {
	n, err := k.store.CountAdmins(ctx, k.tenant)
	return n > 0, err
}
