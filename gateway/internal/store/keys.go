package store

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/voicemill/voicemill/gateway/internal/auth"
	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/platform/pg"
)

// Key is one API key; its secret is not kept.
type Key struct {
	ID          string
	Name        string
	Scopes      []auth.Scope
	Certificate bool // the public key of a client certificate; there is no secret
	CreatedAt   time.Time
	RevokedAt   *time.Time
}

// FindKey returns who a key belongs to, or nil if there is no such key or it is revoked.
func (s *Store) FindKey(ctx context.Context, h auth.Hash) (*auth.Identity, error) {
	var id auth.Identity
	err := s.row(ctx, "FindKey", []any{&id.KeyID, &id.Tenant, &id.Scopes}, h[:])
	if job.KindOf(err) == job.NotFound && err != nil {
		return nil, nil //nolint:nilerr // a key that does not exist is an answer worth keeping
	}
	if err != nil {
		return nil, err
	}
	return &id, nil
}

// TenantExists reports whether there is such a tenant.
func (s *Store) TenantExists(ctx context.Context, tenant job.Tenant) (exists bool, err error) {
	err = s.row(ctx, "TenantExists", []any{&exists}, tenant)
	return exists, err
}

// RegisterKey stores a new key of tenant that is known by its hash, and returns
// it with its time. A hash that any key has or had is a Conflict.
func (s *Store) RegisterKey(ctx context.Context, tenant job.Tenant, k Key, h auth.Hash) (Key, error) {
	err := s.row(ctx, "InsertKey", []any{&k.CreatedAt}, k.ID, tenant, k.Name, h[:], k.Scopes, k.Certificate)
	return k, err
}

// CountAdmins returns how many keys of tenant work and may administer.
func (s *Store) CountAdmins(ctx context.Context, tenant job.Tenant) (n int, err error) {
	err = s.row(ctx, "CountAdmins", []any{&n}, tenant)
	return n, err
}

// Tenant is one tenant and how many of its keys work.
type Tenant struct {
	ID        job.Tenant `json:"id"`
	CreatedAt time.Time  `json:"created_at"`
	Keys      int        `json:"keys"`   // that work
	Admins    int        `json:"admins"` // of these, with the scope admin
}

// Tenants returns all tenants by name.
func (s *Store) Tenants(ctx context.Context) ([]Tenant, error) {
	return collect(ctx, s, "ListTenants", pgx.RowToStructByPos[Tenant])
}

// ListKeys returns at most limit keys of tenant after the cursor, newest first.
func (s *Store) ListKeys(ctx context.Context, tenant job.Tenant, after Cursor, limit int) ([]Key, error) {
	return collect(ctx, s, "ListKeys", func(row pgx.CollectableRow) (k Key, err error) {
		err = row.Scan(&k.ID, &k.Name, &k.Scopes, &k.Certificate, &k.CreatedAt, &k.RevokedAt)
		return k, err
	}, tenant, after.at(), after.ID, limit)
}

// RevokeKey ends a key of tenant; it may be called again. NotFound if it never was
// one. The last key that may administer is kept if keepAdmin says so: then the
// error is a Conflict.
func (s *Store) RevokeKey(ctx context.Context, tenant job.Tenant, id string, keepAdmin KeepAdmin) error {
	return s.call(ctx, "RevokeKey", func(ctx context.Context) error {
		return pg.Tx(ctx, s.pool, func(tx pgx.Tx) error {
			if keepAdmin {
				if err := s.othersAdminister(ctx, tx, tenant, id); err != nil {
					return err
				}
			}
			return tx.QueryRow(ctx, s.queries.Get("RevokeKey"), tenant, id).Scan(&id)
		})
	})
}

// KeepAdmin is whether a tenant must keep a key with the scope admin.
type KeepAdmin bool

// othersAdminister returns a Conflict if id is the last key of tenant that may
// administer. Two that are revoked at once wait for each other.
func (s *Store) othersAdminister(ctx context.Context, tx pgx.Tx, tenant job.Tenant, id string) error {
	if _, err := tx.Exec(ctx, s.queries.Get("LockTenant"), tenant); err != nil {
		return err
	}
	var admin bool
	if err := tx.QueryRow(ctx, s.queries.Get("FindKeyOf"), tenant, id).Scan(&admin); err != nil || !admin {
		return err
	}
	var others int
	if err := tx.QueryRow(ctx, s.queries.Get("CountOtherAdmins"), tenant, id).Scan(&others); err != nil || others > 0 {
		return err
	}
	return &job.Error{Op: "store.RevokeKey", Kind: job.Conflict, Public: sayLastAdmin, Err: errLastAdmin}
}

const sayLastAdmin = "This is the last key that may administer; without it nobody could make another. Create one with the scope admin first."

var errLastAdmin = errors.New("the tenant's last key with the scope admin")

// SigningKey returns the public key that manifests are signed with, in base64.
func (s *Store) SigningKey(ctx context.Context) (public string, err error) {
	err = s.call(ctx, "SigningKey", func(ctx context.Context) error {
		key, err := pg.SigningKey(ctx, s.pool)
		if err == nil {
			public = job.PublicKey(key)
		}
		return err
	})
	return public, err
}

// CallbackSecret returns the secret that signs the tenant's callbacks.
func (s *Store) CallbackSecret(ctx context.Context, tenant job.Tenant) (secret string, err error) {
	err = s.row(ctx, "CallbackSecret", []any{&secret}, tenant)
	return secret, err
}
