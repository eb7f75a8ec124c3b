package store

import (
	"context"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/voicemill/voicemill/job"
)

// BundleID names a bundle that is out: by its job, the segment that stands first
// in it, and the attempt.
type BundleID struct {
	Job     int64
	N       int
	Attempt int
}

// Out is a bundle that is out.
type Out struct {
	BundleID
	JobID   job.ID
	Tenant  job.Tenant
	Weight  float64
	Class   job.Class
	Pool    string
	Mask    uint64 // bit (n-1)%64: segment n is not settled
	Seconds float64
	Solo    bool
	Spared  int     // attempts that are not charged
	Age     float64 // seconds since it was released
	Open    bool    // its job has not ended
}

// Outstanding returns what is left of every bundle that is out.
func (s *Store) Outstanding(ctx context.Context) (map[BundleID]uint64, error) {
	rows, err := collect(ctx, s, "Outstanding", nil, func(r pgx.CollectableRow) (o Out, err error) {
		err = r.Scan(&o.Job, &o.N, &o.Attempt, (*bits)(&o.Mask))
		return o, err
	})
	if err != nil {
		return nil, err
	}
	left := make(map[BundleID]uint64, len(rows))
	for i := range rows {
		left[rows[i].BundleID] = rows[i].Mask
	}
	return left, nil
}

// OutstandingAfter returns a page of the bundles that are out, by name.
func (s *Store) OutstandingAfter(ctx context.Context, after BundleID, limit int) ([]Out, error) {
	args := []any{after.Job, after.N, after.Attempt, limit}
	return collect(ctx, s, "OutstandingAfter", args, func(r pgx.CollectableRow) (o Out, err error) {
		err = r.Scan(&o.Job, &o.N, &o.Attempt, &o.Spared, &o.Pool, (*bits)(&o.Mask), &o.Seconds, &o.Solo, &o.Age, &o.JobID, &o.Tenant, &o.Weight,
			&o.Class, &o.Open)
		return o, err
	})
}

// bits reads a bigint as a set of bits.
type bits uint64

// ScanInt64 implements pgtype.Int64Scanner.
func (b *bits) ScanInt64(v pgtype.Int8) error {
	*b = bits(v.Int64) //nolint:gosec // a bit set
	return nil
}
