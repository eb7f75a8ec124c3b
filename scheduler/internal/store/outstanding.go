package store

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/platform/pg"
)

// Outcome is what became of a released segment.
type Outcome struct {
	JobID   job.ID
	N       int
	State   job.SegmentState
	Seconds float64 // of its audio, if it is done
}

// Outstanding returns every released segment, without its text. There are as
// many as the release window lets out.
func (s *Store) Outstanding(ctx context.Context) ([]Segment, error) {
	rows, err := s.pool.Query(ctx, s.q.Get("Outstanding"))
	if err != nil {
		return nil, pg.Classify(err)
	}
	out, err := pgx.CollectRows(rows, func(r pgx.CollectableRow) (g Segment, err error) {
		err = r.Scan(&g.JobID, &g.N, &g.Pool, &g.Tenant, &g.Class, &g.Seconds)
		return g, err
	})
	return out, pg.Classify(err)
}

// Outcomes returns the states of segments. One that does not exist any more is
// left out.
func (s *Store) Outcomes(ctx context.Context, segments []Segment) ([]Outcome, error) {
	ids, ns := make([]string, len(segments)), make([]int32, len(segments))
	for i := range segments {
		ids[i], ns[i] = string(segments[i].JobID), int32(segments[i].N) //nolint:gosec // bounded by job.Limits
	}
	rows, err := s.pool.Query(ctx, s.q.Get("Outcomes"), ids, ns)
	if err != nil {
		return nil, pg.Classify(err)
	}
	out, err := pgx.CollectRows(rows, func(r pgx.CollectableRow) (o Outcome, err error) {
		err = r.Scan(&o.JobID, &o.N, &o.State, &o.Seconds)
		return o, err
	})
	return out, pg.Classify(err)
}

// StaleReleases returns segments of open jobs that were released longer ago
// than age, whole, the oldest first.
func (s *Store) StaleReleases(ctx context.Context, age time.Duration, limit int) ([]Segment, error) {
	rows, err := s.pool.Query(ctx, s.q.Get("StaleReleases"), age.Seconds(), limit)
	if err != nil {
		return nil, pg.Classify(err)
	}
	out, err := pgx.CollectRows(rows, func(r pgx.CollectableRow) (g Segment, err error) {
		var pronunciations *string
		err = r.Scan(&g.JobID, &g.N, &g.Chapter, &g.Attempt, &g.Voice, &g.Language, &g.Text, &g.Seconds, &g.RenditionKey,
			&pronunciations, &g.SampleRate, &g.Pool, &g.Tenant, &g.Class, &g.Speed, &g.Seed)
		g.Pronunciations = rawJSON(pronunciations)
		return g, err
	})
	return out, pg.Classify(err)
}

// Backlog is the predicted audio that is still to be made.
type Backlog struct {
	Pool    string
	Class   job.Class
	Seconds float64
}

// Backlog returns the backlog of every pool and class that has one.
func (s *Store) Backlog(ctx context.Context) ([]Backlog, error) {
	rows, err := s.pool.Query(ctx, s.q.Get("Backlog"))
	if err != nil {
		return nil, pg.Classify(err)
	}
	list, err := pgx.CollectRows(rows, func(r pgx.CollectableRow) (b Backlog, err error) {
		err = r.Scan(&b.Pool, &b.Class, &b.Seconds)
		return b, err
	})
	return list, pg.Classify(err)
}

// Assembly is an outbox row that is out: the join of a chapter, or the end of
// a job where Ordinal is 0.
type Assembly struct {
	JobID            job.ID
	Ordinal, Attempt int
}

// ReleaseAssemblies marks due outbox rows as released, so that at most window
// are out, and returns them.
func (s *Store) ReleaseAssemblies(ctx context.Context, window int) ([]Assembly, error) {
	return s.assemblies(ctx, "ReleaseAssemblies", window)
}

// StaleAssemblies returns outbox rows released longer ago than age.
func (s *Store) StaleAssemblies(ctx context.Context, age time.Duration, limit int) ([]Assembly, error) {
	return s.assemblies(ctx, "StaleAssemblies", age.Seconds(), limit)
}

func (s *Store) assemblies(ctx context.Context, query string, args ...any) ([]Assembly, error) {
	rows, err := s.pool.Query(ctx, s.q.Get(query), args...)
	if err != nil {
		return nil, pg.Classify(err)
	}
	out, err := pgx.CollectRows(rows, func(r pgx.CollectableRow) (a Assembly, err error) {
		err = r.Scan(&a.JobID, &a.Ordinal, &a.Attempt)
		return a, err
	})
	return out, pg.Classify(err)
}
