package store

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/voicemill/voicemill/job"
)

// Estimate is when a job is expected to end.
type Estimate struct {
	Num            int64
	ETA, Low, High time.Time
	Pool           string // in which its turn has not come; empty if something of it is out
	Place          int    // there, from 1
}

// SaveEstimates stores what is expected of jobs that have not ended.
func (s *Leased) SaveEstimates(ctx context.Context, list []Estimate) error {
	_, err := s.exec(ctx, "SaveEstimates", each(list, func(e *Estimate) int64 { return e.Num }),
		each(list, func(e *Estimate) time.Time { return e.ETA }), each(list, func(e *Estimate) time.Time { return e.Low }),
		each(list, func(e *Estimate) time.Time { return e.High }), each(list, func(e *Estimate) string { return e.Pool }),
		each(list, func(e *Estimate) int32 { return int32(e.Place) })) //nolint:gosec // jobs that wait
	return err
}

func each[T, V any](list []T, f func(*T) V) []V {
	out := make([]V, len(list))
	for i := range list {
		out[i] = f(&list[i])
	}
	return out
}

// Outcome is a job of which an estimate was stored, as it is now.
type Outcome struct {
	Num                 int64
	Class               job.Class
	Spoken, Ended       bool // its audio is there; it has ended, in whatever way
	EndedAt             time.Time
	FirstAt, FirstETA   time.Time // when something was said of it first, and what
	FirstLow, FirstHigh time.Time
}

// Outcomes returns how jobs are of which estimates were stored.
func (s *Store) Outcomes(ctx context.Context, nums []int64) ([]Outcome, error) {
	return collect(ctx, s, "Outcomes", []any{nums}, pgx.RowToStructByPos[Outcome])
}
