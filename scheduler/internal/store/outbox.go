package store

import (
	"context"

	"github.com/jackc/pgx/v5"

	"github.com/voicemill/voicemill/platform/bus"
)

// Due is a row of the outbox: the join of a chapter, or the end of a job where
// Ordinal is 0, or the encoding of the one or the other.
type Due struct {
	Owner
	Row     int64
	Ordinal int
	Encode  bool    // not the join but the encoding
	Attempt int     // releases so far
	Out     bool    // it was let out and is not done
	Seconds float64 // of audio that it joins, about
}

// Pool returns what stands for a pool.
func (d Due) Pool() string { return bus.Assembly{Encode: d.Encode}.Pool() }

// OutboxAfter returns a page of what is due or out, by row.
func (s *Store) OutboxAfter(ctx context.Context, row int64, limit int) ([]Due, error) {
	return collect(ctx, s, "OutboxAfter", []any{row, limit}, func(r pgx.CollectableRow) (d Due, err error) {
		err = r.Scan(&d.Row, &d.ID, &d.Num, &d.Ordinal, &d.Encode, &d.Attempt, &d.Tenant, &d.Weight, &d.Class, &d.Priority, &d.Deadline,
			&d.AcceptedAt, &d.Out, &d.Seconds)
		return d, err
	})
}

// OutboxOut returns the attempts of those rows that are still out.
func (s *Store) OutboxOut(ctx context.Context, rows []int64) (map[int64]int, error) {
	type row struct {
		id      int64
		attempt int
	}
	list, err := collect(ctx, s, "OutboxOut", []any{rows}, func(r pgx.CollectableRow) (o row, err error) {
		err = r.Scan(&o.id, &o.attempt)
		return o, err
	})
	if err != nil {
		return nil, err
	}
	out := make(map[int64]int, len(list))
	for _, r := range list {
		out[r.id] = r.attempt
	}
	return out, nil
}
