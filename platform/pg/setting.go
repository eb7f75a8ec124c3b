package pg

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"fmt"

	"github.com/voicemill/voicemill/job"
)

// Setting returns the deployment's value of name. If there is none, the result
// of first is stored and returned; when several processes try at once, the
// first writer wins and all of them get its value.
func Setting(ctx context.Context, pool *Pool, name string, first func() []byte) ([]byte, error) {
	const get = `select value from settings where name = $1`
	var value []byte
	err := Classify(pool.QueryRow(ctx, get, name).Scan(&value))
	if err == nil || job.KindOf(err) != job.NotFound {
		return value, err
	}
	if _, err := pool.Exec(ctx, `insert into settings (name, value) values ($1, $2) on conflict (name) do nothing`, name, first()); err != nil {
		return nil, fmt.Errorf("store setting %s: %w", name, Classify(err))
	}
	if err := pool.QueryRow(ctx, get, name).Scan(&value); err != nil {
		return nil, fmt.Errorf("read setting %s: %w", name, Classify(err))
	}
	return value, nil
}

// SigningKey returns the key that the deployment signs manifests with. The first
// call of all makes it.
func SigningKey(ctx context.Context, pool *Pool) (ed25519.PrivateKey, error) {
	seed := make([]byte, ed25519.SeedSize)
	if _, err := rand.Read(seed); err != nil {
		return nil, fmt.Errorf("read random bytes for a signing key: %w", err)
	}
	seed, err := Setting(ctx, pool, "signing_key", func() []byte { return seed })
	if err != nil {
		return nil, err
	}
	if len(seed) != ed25519.SeedSize {
		return nil, &job.Error{Op: "pg.SigningKey", Kind: job.Internal, Err: fmt.Errorf("the setting has %d bytes; want %d", len(seed), ed25519.SeedSize)}
	}
	return ed25519.NewKeyFromSeed(seed), nil
}

// callbackSecretBytes is the length of a callback secret, 24 to 64 as Standard Webhooks asks.
const callbackSecretBytes = 32

// EnsureTenant creates the tenant with a new random callback secret unless it
// exists. It may be called any number of times, by several processes at once.
func EnsureTenant(ctx context.Context, pool *Pool, tenant job.Tenant) error {
	var b [callbackSecretBytes]byte
	if _, err := rand.Read(b[:]); err != nil {
		return fmt.Errorf("read random bytes for a callback secret: %w", err)
	}
	_, err := pool.Exec(ctx, `insert into tenants (id, callback_secret) values ($1, $2) on conflict (id) do nothing`,
		string(tenant), "whsec_"+base64.StdEncoding.EncodeToString(b[:]))
	if err != nil {
		return fmt.Errorf("create tenant %s: %w", tenant, Classify(err))
	}
	return nil
}
