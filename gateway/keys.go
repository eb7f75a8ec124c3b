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
	st, err := store.New(db, random)
	if err != nil {
		return "", err
	}
	_, secret, err = st.CreateKey(ctx, tenant, "", name, allowed)
	return secret, err
}

// EnsureKey creates a first key with every scope if the tenant has none that
// works; created is false and secret empty if it has one.
func EnsureKey(ctx context.Context, db *pg.Pool, tenant job.Tenant, random io.Reader) (secret string, created bool, err error) {
	st, err := store.New(db, random)
	if err != nil {
		return "", false, err
	}
	if n, err := st.CountKeys(ctx, tenant); err != nil || n > 0 {
		return "", false, err
	}
	_, secret, err = st.CreateKey(ctx, tenant, "", "first key", auth.Scopes())
	return secret, err == nil, err
}
