package store

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/voicemill/voicemill/job"
)

// Usage is what the jobs of a tenant have used that were accepted on a day with a key.
type Usage struct {
	Tenant        job.Tenant
	Day           time.Time // its beginning, UTC
	Key           string    // id of the API key; empty if none is known
	Jobs          int64
	Characters    int64 // of segments that were spoken or reused
	AudioSeconds  float64
	ReusedSeconds float64 // of these
	GPUSeconds    float64
}

// Usage returns what a tenant has used, by day and key, from a day to another.
func (s *Store) Usage(ctx context.Context, tenant job.Tenant, from, to time.Time) (list []Usage, err error) {
	err = s.call(ctx, "Usage", func(ctx context.Context) error {
		rows, err := s.pool.Query(ctx, s.queries.Get("Usage"), tenant, from, to)
		if err == nil {
			list, err = pgx.CollectRows(rows, pgx.RowToStructByPos[Usage])
		}
		return err
	})
	return list, err
}

// Stored is what a tenant has in the bucket, in bytes.
type Stored struct {
	Renditions, Files int64
	Uploads           int64 // as they were declared, arrived or not
}

// StoredBytes returns what counts for a tenant's quota of stored bytes.
func (s *Store) StoredBytes(ctx context.Context, tenant job.Tenant) (b Stored, err error) {
	err = s.call(ctx, "StoredBytes", func(ctx context.Context) error {
		return s.pool.QueryRow(ctx, s.queries.Get("StoredBytes"), tenant).Scan(&b.Renditions, &b.Files, &b.Uploads)
	})
	return b, err
}
