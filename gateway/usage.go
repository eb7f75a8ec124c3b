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
type Usage struct {
	Tenant        job.Tenant `json:"tenant"`
	Day           string     `json:"day"` // UTC, as 2026-12-01
	Key           string     `json:"key,omitempty"`
	Jobs          int64      `json:"jobs"`
	Characters    int64      `json:"characters"` // of segments that were spoken or reused
	AudioSeconds  float64    `json:"audio_seconds"`
	ReusedSeconds float64    `json:"reused_seconds"` // of these
	GPUSeconds    float64    `json:"gpu_seconds"`
}

// StoredBytes is what a tenant has in the bucket.
type StoredBytes struct {
	Tenant     job.Tenant `json:"tenant"`
	Renditions int64      `json:"rendition_bytes"`
	Files      int64      `json:"file_bytes"`
	Uploads    int64      `json:"upload_bytes"` // as they were declared, arrived or not
}

// TenantUsage returns what a tenant has used by day and key, both days included,
// and what it has stored now.
func TenantUsage(ctx context.Context, db *pg.Pool, tenant job.Tenant, from, to time.Time) ([]Usage, StoredBytes, error) {
	stored := StoredBytes{Tenant: tenant}
	st, err := store.New(db, nil)
	if err != nil {
		return nil, stored, err
	}
	bytes, err := st.StoredBytes(ctx, tenant)
	if err != nil {
		return nil, stored, err
	}
	stored.Renditions, stored.Files, stored.Uploads = bytes.Renditions, bytes.Files, bytes.Uploads
	rows, err := st.Usage(ctx, tenant, from, to)
	list := make([]Usage, len(rows))
	for i, r := range rows {
		list[i] = Usage{
			Tenant: r.Tenant, Day: r.Day.Format(time.DateOnly), Key: r.Key, Jobs: r.Jobs, Characters: r.Characters,
			AudioSeconds: r.AudioSeconds, ReusedSeconds: r.ReusedSeconds, GPUSeconds: r.GPUSeconds,
		}
	}
	return list, stored, err
}
