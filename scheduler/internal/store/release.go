package store

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/platform/pg"
)

// Segment is a segment as the release window handles it.
type Segment struct {
	JobID                 job.ID
	N, Chapter, Attempt   int
	Tenant                job.Tenant
	Class                 job.Class
	Pool, Voice, Language string
	Text, RenditionKey    string
	Pronunciations        json.RawMessage // nil for none
	Speed                 float64
	Seed                  int64
	Seconds               float64 // predicted audio
	SampleRate            int
	Callback              *job.Callback // of the job; nil for none
}

// ReadyJob is a job that has segments to release.
type ReadyJob struct {
	ID         job.ID
	Tenant     job.Tenant
	Weight     float64 // of the tenant; 1 is normal
	Class      job.Class
	Priority   int
	Deadline   *time.Time
	AcceptedAt time.Time
	Speed      float64
	Seed       int64
	Callback   *job.Callback
	Pools      []string // of its pending segments
}

// ReadyJobs returns the first perTenant jobs of each tenant and class that
// have a segment to release now.
func (s *Store) ReadyJobs(ctx context.Context, perTenant int) ([]job.ID, error) {
	rows, err := s.pool.Query(ctx, s.q.Get("ReadyJobs"), perTenant)
	if err != nil {
		return nil, pg.Classify(err)
	}
	ids, err := pgx.CollectRows(rows, pgx.RowTo[job.ID])
	return ids, pg.Classify(err)
}

// LoadJobs returns what the release needs to know of the jobs with these ids
// that are queued or running.
func (s *Store) LoadJobs(ctx context.Context, ids []job.ID) ([]ReadyJob, error) {
	rows, err := s.pool.Query(ctx, s.q.Get("LoadJobs"), texts(ids))
	if err != nil {
		return nil, pg.Classify(err)
	}
	jobs, err := pgx.CollectRows(rows, func(r pgx.CollectableRow) (j ReadyJob, err error) {
		err = r.Scan(&j.ID, &j.Tenant, &j.Weight, &j.Class, &j.Priority, &j.Deadline, &j.AcceptedAt, &j.Speed, &j.Seed, &j.Callback, &j.Pools)
		return j, err
	})
	return jobs, pg.Classify(err)
}

// Lot names the segments of one job in one pool.
type Lot struct {
	JobID job.ID
	Pool  string
}

// PendingSegments returns the next pending segments of each lot in reading
// order, at most perLot of each. What belongs to the job is left to the caller, who
// knows it.
func (s *Store) PendingSegments(ctx context.Context, lots []Lot, perLot int) ([]Segment, error) {
	ids, pools := make([]string, len(lots)), make([]string, len(lots))
	for i, l := range lots {
		ids[i], pools[i] = string(l.JobID), l.Pool
	}
	rows, err := s.pool.Query(ctx, s.q.Get("PendingSegments"), ids, pools, perLot)
	if err != nil {
		return nil, pg.Classify(err)
	}
	segments, err := pgx.CollectRows(rows, func(r pgx.CollectableRow) (g Segment, err error) {
		var pronunciations *string
		err = r.Scan(&g.JobID, &g.N, &g.Chapter, &g.Attempt, &g.Voice, &g.Language, &g.Text, &g.Seconds, &g.RenditionKey,
			&pronunciations, &g.SampleRate, &g.Pool)
		g.Pronunciations = rawJSON(pronunciations)
		return g, err
	})
	return segments, pg.Classify(err)
}

func rawJSON(s *string) json.RawMessage {
	if s == nil {
		return nil
	}
	return json.RawMessage(*s)
}

// VirtualTime is how far a tenant has been served in a class.
type VirtualTime struct {
	Tenant job.Tenant
	Class  job.Class
	Value  float64
}

// VirtualTimes returns the stored virtual times of all tenants.
func (s *Store) VirtualTimes(ctx context.Context) ([]VirtualTime, error) {
	rows, err := s.pool.Query(ctx, s.q.Get("VirtualTimes"))
	if err != nil {
		return nil, pg.Classify(err)
	}
	times, err := pgx.CollectRows(rows, func(r pgx.CollectableRow) (v VirtualTime, err error) {
		err = r.Scan(&v.Tenant, &v.Class, &v.Value)
		return v, err
	})
	return times, pg.Classify(err)
}

// Release marks picks as released, starts the jobs that were queued with the
// callbacks they want, and saves the virtual times, in one transaction. It
// returns the picks that were still pending in an open job, with their
// attempt, and the jobs it started.
func (s *Store) Release(ctx context.Context, picks []Segment, times []VirtualTime) ([]Segment, []Version, error) {
	var out []Segment
	var started []Version
	err := pg.Tx(ctx, s.pool, func(tx pgx.Tx) error {
		out, started = nil, nil
		open, err := s.lockOpenJobs(ctx, tx, picks)
		if err != nil {
			return err
		}
		if out, err = s.releaseSegments(ctx, tx, picks, open); err != nil {
			return fmt.Errorf("release segments: %w", err)
		}
		if started, err = s.startJobs(ctx, tx, out, open); err != nil {
			return fmt.Errorf("start jobs: %w", err)
		}
		return s.saveTimes(ctx, tx, times)
	})
	return out, started, err
}

// lockOpenJobs locks the jobs of picks; the result holds the state of those
// that are still open.
func (s *Store) lockOpenJobs(ctx context.Context, tx pgx.Tx, picks []Segment) (map[job.ID]job.State, error) {
	seen := map[job.ID]bool{}
	var ids []string
	for i := range picks {
		if !seen[picks[i].JobID] {
			seen[picks[i].JobID] = true
			ids = append(ids, string(picks[i].JobID))
		}
	}
	rows, err := tx.Query(ctx, s.q.Get("LockOpenJobs"), ids)
	if err != nil {
		return nil, err
	}
	open := make(map[job.ID]job.State, len(ids))
	var id job.ID
	var state job.State
	_, err = pgx.ForEachRow(rows, []any{&id, &state}, func() error { open[id] = state; return nil })
	return open, err
}

func (s *Store) releaseSegments(ctx context.Context, tx pgx.Tx, picks []Segment, open map[job.ID]job.State) ([]Segment, error) {
	type key struct {
		id job.ID
		n  int
	}
	at := make(map[key]int, len(picks))
	var ids []string
	var ns []int32
	for i := range picks {
		if _, ok := open[picks[i].JobID]; ok {
			at[key{picks[i].JobID, picks[i].N}] = i
			ids, ns = append(ids, string(picks[i].JobID)), append(ns, int32(picks[i].N)) //nolint:gosec // bounded by job.Limits
		}
	}
	attempts := make([]int, len(picks))
	rows, err := tx.Query(ctx, s.q.Get("ReleaseSegments"), ids, ns)
	if err != nil {
		return nil, err
	}
	var k key
	var attempt int
	if _, err := pgx.ForEachRow(rows, []any{&k.id, &k.n, &attempt}, func() error { attempts[at[k]] = attempt; return nil }); err != nil {
		return nil, err
	}
	out := make([]Segment, 0, len(picks))
	for i, g := range picks { // in the order of the picks: that is the order of the lane
		if g.Attempt = attempts[i]; g.Attempt > 0 {
			out = append(out, g)
		}
	}
	return out, nil
}

func (s *Store) startJobs(ctx context.Context, tx pgx.Tx, out []Segment, open map[job.ID]job.State) ([]Version, error) {
	var ids []string
	var notices []Notice
	for i := range out {
		id := out[i].JobID
		if open[id] != job.StateQueued {
			continue
		}
		open[id] = job.StateRunning
		ids = append(ids, string(id))
		if n, wanted := notice(id, out[i].Tenant, out[i].Callback, job.EventStarted); wanted {
			notices = append(notices, n)
		}
	}
	if len(ids) == 0 {
		return nil, nil
	}
	started, err := collectVersions(tx.Query(ctx, s.q.Get("StartJobs"), ids))
	if err != nil {
		return nil, err
	}
	return started, s.sendNotices(ctx, tx, notices)
}

func (s *Store) saveTimes(ctx context.Context, tx pgx.Tx, times []VirtualTime) error {
	if len(times) == 0 {
		return nil
	}
	tenants, classes, values := make([]string, len(times)), make([]string, len(times)), make([]float64, len(times))
	for i, t := range times {
		tenants[i], classes[i], values[i] = string(t.Tenant), string(t.Class), t.Value
	}
	_, err := tx.Exec(ctx, s.q.Get("SaveVirtualTime"), tenants, classes, values)
	if err != nil {
		return fmt.Errorf("save virtual times: %w", err)
	}
	return nil
}
