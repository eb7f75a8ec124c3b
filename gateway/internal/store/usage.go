package store

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/voicemill/voicemill/job"
)

// Usage is what the jobs of a tenant have used that were accepted on a day with a key.
type Usage struct {
	Tenant        job.Tenant `json:"tenant"`
	Day           string     `json:"day"`           // UTC, as 2026-12-01
	Key           string     `json:"key,omitempty"` // id of the API key; empty if none is known
	Jobs          int64      `json:"jobs"`
	Characters    int64      `json:"characters"` // of segments that were spoken or reused
	AudioSeconds  float64    `json:"audio_seconds"`
	ReusedSeconds float64    `json:"reused_seconds"` // of these
	GPUSeconds    float64    `json:"gpu_seconds"`
}

// Usage returns what a tenant has used, by day and key, from a day to another.
func (s *Store) Usage(ctx context.Context, tenant job.Tenant, from, to time.Time) ([]Usage, error) {
	return collect(ctx, s, "Usage", pgx.RowToStructByPos[Usage], tenant, from, to)
}

// Stored is what a tenant has in the bucket, in bytes.
type Stored struct {
	Tenant     job.Tenant `json:"tenant"`
	Renditions int64      `json:"rendition_bytes"`
	Files      int64      `json:"file_bytes"`
	Uploads    int64      `json:"upload_bytes"` // as they were declared, arrived or not
}

// StoredBytes returns what counts for a tenant's quota of stored bytes.
func (s *Store) StoredBytes(ctx context.Context, tenant job.Tenant) (Stored, error) {
	b := Stored{Tenant: tenant}
	err := s.row(ctx, "StoredBytes", []any{&b.Renditions, &b.Files, &b.Uploads}, tenant)
	return b, err
}
