package gateway

import (
	"context"
	"time"

	"github.com/voicemill/voicemill/gateway/internal/store"
	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/platform/pg"
)

// TenantPolicy is how long what a tenant has is kept: numbers of seconds, or bytes,
// as text. Empty leaves what there is, "default" is as the scheduler is configured.
type TenantPolicy = store.Policy

// TenantQuota is what a tenant may have: numbers as text. Empty leaves what there
// is, "none" takes the bound away.
type TenantQuota = store.Quota

// SetTenant changes policy and quota of a tenant; NotFound if there is none of
// that name. Gateways go by a new quota within two seconds.
func SetTenant(ctx context.Context, db *pg.Pool, tenant job.Tenant, p TenantPolicy, q TenantQuota) error {
	st, err := store.New(db, nil)
	if err != nil {
		return err
	}
	return st.SetTenant(ctx, tenant, p, q)
}

// Usage is what the jobs of a tenant have used that were accepted on a day with a key.
type Usage = store.Usage

// StoredBytes is what a tenant has in the bucket.
type StoredBytes = store.Stored

// TenantUsage returns what a tenant has used by day and key, both days included,
// and what it has stored now.
func TenantUsage(ctx context.Context, db *pg.Pool, tenant job.Tenant, from, to time.Time) (list []Usage, stored StoredBytes, err error) {
	st, err := store.New(db, nil)
	if err != nil {
		return nil, stored, err
	}
	if stored, err = st.StoredBytes(ctx, tenant); err == nil {
		list, err = st.Usage(ctx, tenant, from, to)
	}
	return list, stored, err
}
