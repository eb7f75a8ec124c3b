package store

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/voicemill/voicemill/api/jobdoc"
	"github.com/voicemill/voicemill/gateway/internal/watch"
	"github.com/voicemill/voicemill/job"
)

// ReadJob returns the row of one job for its document. NotFound if there is no
// row (yet) or it belongs to somebody else.
func (s *Store) ReadJob(ctx context.Context, tenant job.Tenant, id job.ID) (*jobdoc.Row, error) {
	var r jobdoc.Row
	err := s.call(ctx, "ReadJob", func(ctx context.Context) error {
		return s.pool.QueryRow(ctx, jobdoc.SelectJob(), id).Scan(r.Targets()...)
	})
	if err != nil {
		return nil, err
	}
	if r.Tenant != string(tenant) {
		return nil, &job.Error{Op: "store.ReadJob", JobID: id, Kind: job.NotFound}
	}
	return &r, nil
}

// Fate is what is known of a job that has no row.
type Fate struct {
	Cancelled bool // before it had one
	Deleted   bool
}

// FateOf returns what is known of a job that has no row.
func (s *Store) FateOf(ctx context.Context, id job.ID) (f Fate, err error) {
	err = s.row(ctx, "FateOf", []any{&f.Cancelled, &f.Deleted}, id)
	return f, err
}

// JobArrived reports whether the scheduler has written the job, be it that it was
// deleted since.
func (s *Store) JobArrived(ctx context.Context, id job.ID) (yes bool, err error) {
	err = s.row(ctx, "JobArrived", []any{&yes}, id)
	return yes, err
}

// Versions returns the version of each job that has one; see [watch.Reader].
func (s *Store) Versions(ctx context.Context, ids []job.ID) (map[job.ID]watch.Version, error) {
	found := make(map[job.ID]watch.Version, len(ids))
	err := s.call(ctx, "Versions", func(ctx context.Context) error {
		rows, err := s.pool.Query(ctx, s.queries.Get("JobVersions"), ids)
		if err != nil {
			return err
		}
		var id job.ID
		var v watch.Version
		_, err = pgx.ForEachRow(rows, []any{&id, &v.N, &v.Settled, &v.Final}, func() error {
			found[id] = v
			return nil
		})
		return err
	})
	return found, err
}

// JobFilter chooses jobs of a list. Zero fields choose all.
type JobFilter struct {
	States        []job.State
	Class         job.Class
	Labels        map[string]string
	CreatedAfter  *time.Time // this moment or later
	CreatedBefore *time.Time
}

// ListJobs returns at most limit jobs of tenant after the cursor, newest first,
// without their lists.
func (s *Store) ListJobs(ctx context.Context, tenant job.Tenant, f JobFilter, after Cursor, limit int) ([]jobdoc.Row, error) {
	labels, err := json.Marshal(f.Labels)
	if err != nil || f.Labels == nil {
		labels = []byte("{}")
	}
	states := append([]job.State{}, f.States...) // never null
	var found []jobdoc.Row
	err = s.call(ctx, "ListJobs", func(ctx context.Context) error {
		var b pgx.Batch
		b.Queue(s.queries.Get("PlanForValues"))
		b.Queue(s.queries.Get("ListJobs"), tenant, after.at(), after.ID, states, f.Class, labels, f.CreatedAfter, f.CreatedBefore, limit).Query(func(rows pgx.Rows) (err error) {
			found, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (jobdoc.Row, error) {
				var r jobdoc.Row
				err := row.Scan(r.SummaryTargets()...)
				return r, err
			})
			return err
		})
		return s.pool.SendBatch(ctx, &b).Close()
	})
	return found, err
}

// Segment is one segment as its owner sees it.
type Segment struct {
	N, Chapter             int
	Text, Voice, Language  string
	State                  job.SegmentState
	Attempts               int
	PredictedSeconds       float64
	AudioSeconds           float64
	Verdict                string  // of the ear, or else of the check
	Heard                  *string // nil if it was not heard
	Tries                  int     // likewise 0
	ErrorKind, ErrorDetail string
	Document               string
	Start, End             int64
}

// SegmentFilter chooses segments of a list. Zero fields choose all.
type SegmentFilter struct {
	States  []job.SegmentState
	Chapter int
}

// ListSegments returns at most limit segments of a job after segment number
// after, in reading order. Whose job it is was asked before. It looks at a few
// blocks at a time, more with each that had too little, so that what is common
// is found at once and what is rare without a query for each block.
func (s *Store) ListSegments(ctx context.Context, id job.ID, f SegmentFilter, after, limit int) (segments []Segment, err error) {
	err = s.call(ctx, "ListSegments", func(ctx context.Context) error {
		var num int64
		var from, last int
		err := s.pool.QueryRow(ctx, s.queries.Get("SegmentRange"), id, f.Chapter).Scan(&num, &from, &last)
		if errors.Is(err, pgx.ErrNoRows) {
			return nil
		}
		from = max(from, after+1)
		for window := max(limit, leastWindow); err == nil && from <= last && len(segments) < limit; window = min(2*window, mostWindow) {
			to := min(from+window-1, last)
			var more []Segment
			more, err = s.segmentsBetween(ctx, num, from, to, f, limit-len(segments))
			segments, from = append(segments, more...), to+1
		}
		return err
	})
	return segments, err
}

// Segments that one query looks at.
const (
	leastWindow = 256
	mostWindow  = 16_384
)

func (s *Store) segmentsBetween(ctx context.Context, num int64, from, to int, f SegmentFilter, limit int) ([]Segment, error) {
	states := append([]job.SegmentState{}, f.States...)
	rows, err := s.pool.Query(ctx, s.queries.Get("ListSegments"), num, from, to, states, limit)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (Segment, error) {
		var g Segment
		err := row.Scan(&g.N, &g.Chapter, &g.Text, &g.Voice, &g.Language, &g.State, &g.Attempts, &g.PredictedSeconds,
			&g.AudioSeconds, &g.Verdict, &g.Heard, &g.Tries, &g.ErrorKind, &g.ErrorDetail, &g.Document, &g.Start, &g.End)
		return g, err
	})
}

// Artifact is where in the bucket a finished file is, and what it is.
type Artifact struct{ ObjectKey, MediaType string }

// FindArtifact returns an artifact. NotFound if the job has none of that name.
func (s *Store) FindArtifact(ctx context.Context, tenant job.Tenant, id job.ID, name string) (a Artifact, err error) {
	err = s.row(ctx, "FindArtifact", []any{&a.ObjectKey, &a.MediaType}, id, name, tenant)
	return a, err
}
