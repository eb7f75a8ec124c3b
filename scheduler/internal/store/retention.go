package store

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/voicemill/voicemill/platform/pg"
)

// What is kept for a time that the tenant's policy names.
const (
	KeptText       = "ForgetTexts"
	KeptAudio      = "ForgetAudio"
	KeptJobs       = "ForgetJobs"
	KeptDeliveries = "ForgetDeliveries" // that were made or given up
	KeptRenditions = "EvictRenditions"  // since they were used last
)

// TenantsAfter returns the numbers of up to limit tenants after one, in order.
func (s *Store) TenantsAfter(ctx context.Context, after int32, limit int) ([]int32, error) {
	rows, err := s.pool.Query(ctx, s.q.Get("TenantsAfter"), after, limit)
	if err != nil {
		return nil, pg.Classify(err)
	}
	nums, err := pgx.CollectRows(rows, pgx.RowTo[int32])
	return nums, pg.Classify(err)
}

// Expire deletes what tenants keep no longer of one kind, limit at most, and
// returns how much. keep is for tenants without a policy of their own; 0 is
// without end.
func (s *Leased) Expire(ctx context.Context, kind string, tenants []int32, keep time.Duration, limit int) (int, error) {
	return s.expire(ctx, kind, tenants, keep.Seconds(), limit)
}

// EvictSurplus deletes the renditions that tenants have beyond their bytes, limit
// at most, and returns how many. bytes is for tenants without a policy of their
// own; 0 is without bound. It goes by the sums, see [Leased.SumStored].
func (s *Leased) EvictSurplus(ctx context.Context, tenants []int32, bytes int64, limit int) (int, error) {
	return s.expire(ctx, "EvictSurplus", tenants, bytes, limit)
}

func (s *Leased) expire(ctx context.Context, query string, tenants []int32, keep any, limit int) (int, error) {
	list, err := change(ctx, s, query, []any{tenants, keep, limit}, pgx.RowTo[int])
	if err != nil || len(list) == 0 {
		return 0, fmt.Errorf("%s: %w", query, err)
	}
	return list[0], nil
}

// Tally adds up to limit jobs that have ended to what their tenants have used, each
// once, and returns how many.
func (s *Leased) Tally(ctx context.Context, limit int) (int, error) {
	list, err := change(ctx, s, "TallyJobs", []any{limit}, pgx.RowTo[int])
	if err != nil || len(list) == 0 {
		return 0, err
	}
	return list[0], nil
}

// SumStored adds up to limit changes of what is stored to the sums of the tenants.
func (s *Leased) SumStored(ctx context.Context, limit int) error {
	_, err := s.exec(ctx, "SumStored", limit)
	return err
}

// Discarded is an object that was to go.
type Discarded struct {
	Key   string
	Named bool      // a row names it after all
	Since time.Time // it was to go
}

// Garbage returns up to limit objects that were to go longer ago than age.
func (s *Store) Garbage(ctx context.Context, age time.Duration, limit int) ([]Discarded, error) {
	rows, err := s.pool.Query(ctx, s.q.Get("Garbage"), age.Seconds(), limit)
	if err != nil {
		return nil, pg.Classify(err)
	}
	list, err := pgx.CollectRows(rows, func(r pgx.CollectableRow) (d Discarded, err error) {
		err = r.Scan(&d.Key, &d.Named, &d.Since)
		return d, err
	})
	return list, pg.Classify(err)
}

// ForgetGarbage lets objects stay that a row names.
func (s *Leased) ForgetGarbage(ctx context.Context, keys []string) error {
	_, err := s.exec(ctx, "ForgetGarbage", keys)
	return err
}

// GarbageGone notes that objects are gone.
func (s *Leased) GarbageGone(ctx context.Context, keys []string) error {
	_, err := s.exec(ctx, "GarbageGone", keys)
	return err
}

// Orphans returns which of the objects no row names and nobody is about to delete.
func (s *Store) Orphans(ctx context.Context, keys []string) ([]string, error) {
	rows, err := s.pool.Query(ctx, s.q.Get("Orphans"), keys)
	if err != nil {
		return nil, pg.Classify(err)
	}
	list, err := pgx.CollectRows(rows, pgx.RowTo[string])
	return list, pg.Classify(err)
}

// DropOrphans lets objects go that no row names.
func (s *Leased) DropOrphans(ctx context.Context, keys []string) error {
	_, err := s.exec(ctx, "DropOrphans", keys)
	return err
}
