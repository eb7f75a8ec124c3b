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
	err := s.call(ctx, "FindKey", func(ctx context.Context) error {
		return s.pool.QueryRow(ctx, s.queries.Get("FindKey"), h[:]).Scan(&id.KeyID, &id.Tenant, &id.Scopes)
	})
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
	err = s.call(ctx, "TenantExists", func(ctx context.Context) error {
		return s.pool.QueryRow(ctx, s.queries.Get("TenantExists"), tenant).Scan(&exists)
	})
	return exists, err
}

// RegisterKey stores a new key of tenant that is known by its hash, and returns
// it with its time. A hash that any key has or had is a Conflict.
func (s *Store) RegisterKey(ctx context.Context, tenant job.Tenant, k Key, h auth.Hash) (Key, error) {
	err := s.call(ctx, "CreateKey", func(ctx context.Context) error {
		return s.pool.QueryRow(ctx, s.queries.Get("InsertKey"), k.ID, tenant, k.Name, h[:], k.Scopes, k.Certificate).Scan(&k.CreatedAt)
	})
	return k, err
}

// CountKeys returns how many keys of tenant work.
func (s *Store) CountKeys(ctx context.Context, tenant job.Tenant) (n int, err error) {
	err = s.call(ctx, "CountKeys", func(ctx context.Context) error {
		return s.pool.QueryRow(ctx, s.queries.Get("CountKeys"), tenant).Scan(&n)
	})
	return n, err
}

// CountAdmins returns how many keys of tenant work and may administer.
func (s *Store) CountAdmins(ctx context.Context, tenant job.Tenant) (n int, err error) {
	err = s.call(ctx, "CountAdmins", func(ctx context.Context) error {
		return s.pool.QueryRow(ctx, s.queries.Get("CountAdmins"), tenant).Scan(&n)
	})
	return n, err
}

// Tenant is one tenant and how many of its keys work.
type Tenant struct {
	ID        job.Tenant
	CreatedAt time.Time
	Keys      int
	Admins    int
}

// Tenants returns all tenants by name.
func (s *Store) Tenants(ctx context.Context) (all []Tenant, err error) {
	err = s.call(ctx, "Tenants", func(ctx context.Context) error {
		rows, err := s.pool.Query(ctx, s.queries.Get("ListTenants"))
		if err != nil {
			return err
		}
		all, err = pgx.CollectRows(rows, pgx.RowToStructByPos[Tenant])
		return err
	})
	return all, err
}

// ListKeys returns at most limit keys of tenant after the cursor, newest first.
func (s *Store) ListKeys(ctx context.Context, tenant job.Tenant, after Cursor, limit int) (keys []Key, err error) {
	err = s.call(ctx, "ListKeys", func(ctx context.Context) error {
		rows, err := s.pool.Query(ctx, s.queries.Get("ListKeys"), tenant, after.at(), after.ID, limit)
		if err != nil {
			return err
		}
		keys, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (Key, error) {
			var k Key
			err := row.Scan(&k.ID, &k.Name, &k.Scopes, &k.Certificate, &k.CreatedAt, &k.RevokedAt)
			return k, err
		})
		return err
	})
	return keys, err
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
	err = s.call(ctx, "CallbackSecret", func(ctx context.Context) error {
		return s.pool.QueryRow(ctx, s.queries.Get("CallbackSecret"), tenant).Scan(&secret)
	})
	return secret, err
}
