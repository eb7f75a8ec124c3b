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

// StoredBytes returns the bytes of a tenant's renditions and files.
func (s *Store) StoredBytes(ctx context.Context, tenant job.Tenant) (renditions, files int64, err error) {
	err = s.call(ctx, "StoredBytes", func(ctx context.Context) error {
		return s.pool.QueryRow(ctx, s.queries.Get("StoredBytes"), tenant).Scan(&renditions, &files)
	})
	return renditions, files, err
}
