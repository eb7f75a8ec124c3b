package store

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/platform/bus"
	"github.com/voicemill/voicemill/platform/pg"
)

// Inserted is a job that an envelope brought and that was not there before.
type Inserted struct {
	Version
	State job.State // accepted, cancelled or failed
}

type jobColumns struct {
	ids, tenants, classes, specs, labels, onFailure []string
	languages, sourceKeys, sourceETags              []*string
	requestIDs, traceparents, tracestates           []string
	priorities                                      []int32
	deadlines                                       []*time.Time
	acceptedAt                                      []time.Time
	keyIDs                                          []string
	asked                                           []int64
	told                                            toldColumns // of a cancel that came first
}

// toldColumns are deliveries that a statement may make.
type toldColumns struct{ ids, jobs, urls []string }

func (t *toldColumns) add(random io.Reader, n Notice) error {
	id, err := job.NewToken("dlv_", random)
	if err != nil {
		return err
	}
	t.ids, t.jobs, t.urls = append(t.ids, id), append(t.jobs, string(n.JobID)), append(t.urls, n.URL)
	return nil
}

func (c *jobColumns) add(a *bus.AcceptedJob) error {
	spec := a.Spec
	spec.Normalize()
	raw, err := json.Marshal(spec)
	if err != nil {
		return fmt.Errorf("encode the spec of job %s: %w", a.ID, err)
	}
	labels := []byte("{}")
	if len(spec.Labels) > 0 {
		if labels, err = json.Marshal(spec.Labels); err != nil {
			return fmt.Errorf("encode the labels of job %s: %w", a.ID, err)
		}
	}
	c.ids, c.tenants = append(c.ids, string(a.ID)), append(c.tenants, string(a.Tenant))
	c.classes, c.onFailure = append(c.classes, string(spec.Class)), append(c.onFailure, string(spec.OnFailure))
	c.specs, c.labels = append(c.specs, string(raw)), append(c.labels, string(labels))
	c.languages = append(c.languages, &spec.Language)
	c.sourceKeys, c.sourceETags = append(c.sourceKeys, orNull(a.SourceKey)), append(c.sourceETags, orNull(a.SourceETag))
	c.requestIDs, c.traceparents = append(c.requestIDs, a.RequestID), append(c.traceparents, a.Traceparent)
	c.tracestates = append(c.tracestates, a.Tracestate)
	c.priorities = append(c.priorities, int32(spec.Priority)) //nolint:gosec // -10 to 10; anything else violates nothing and sorts
	c.deadlines, c.acceptedAt = append(c.deadlines, spec.Deadline), append(c.acceptedAt, a.AcceptedAt)
	c.keyIDs, c.asked = append(c.keyIDs, a.KeyID), append(c.asked, spec.Characters())
	return nil
}

func orNull(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

// InsertJobs stores the jobs of one envelope in one transaction and returns
// those that were not there yet. A job with a row in cancellations is stored
// cancelled, together with its callback; a cancel that comes meanwhile waits
// until the job's row is there. Calling it again with the same jobs
// changes nothing. An error means that none of them was stored.
func (s *Store) InsertJobs(ctx context.Context, jobs []bus.AcceptedJob) ([]Inserted, error) {
	cols, err := s.columnsOf(jobs)
	if err != nil {
		return nil, err
	}
	var fresh []Inserted
	err = pg.Batch(ctx, s.pool, func(b *pgx.Batch) error {
		b.Queue(s.q.Get("LockArrivals"), cols.ids)
		b.Queue(s.q.Get("InsertJobs"), cols.ids, cols.tenants, cols.classes, cols.priorities, cols.deadlines,
			cols.specs, cols.labels, cols.onFailure, cols.languages, cols.sourceKeys, cols.sourceETags,
			cols.requestIDs, cols.traceparents, cols.tracestates, cols.acceptedAt, cols.keyIDs, cols.asked,
			cols.told.ids, cols.told.jobs, cols.told.urls, job.EventCancelled).Query(func(rows pgx.Rows) (err error) {
			fresh, err = pgx.CollectRows(rows, scanInserted)
			return err
		})
		return nil
	})
	if err != nil {
		return nil, err
	}
	return fresh, nil
}

// columnsOf turns jobs into the arrays that InsertJobs takes, each job once.
func (s *Store) columnsOf(jobs []bus.AcceptedJob) (cols jobColumns, err error) {
	seen := make(map[job.ID]bool, len(jobs))
	for i := range jobs {
		a := &jobs[i]
		if seen[a.ID] {
			continue
		}
		seen[a.ID] = true
		if err = cols.add(a); err != nil {
			return cols, &job.Error{Op: "store.InsertJobs", JobID: a.ID, Kind: job.Invalid, Err: err}
		}
		if n, wanted := notice(a.ID, a.Tenant, a.Spec.Callback, job.EventCancelled); wanted {
			if err = cols.told.add(s.random, n); err != nil {
				return cols, err
			}
		}
	}
	return cols, nil
}

// InsertBroken stores a failed job in the place of one that cannot be stored
// as it came, so that its id is not lost (invariant I2), or a cancelled one if
// its cancel came first. Its owner is shown detail. It returns what it stored:
// nothing if the job is there already.
func (s *Store) InsertBroken(ctx context.Context, a *bus.AcceptedJob, detail string) ([]Inserted, error) {
	if err := pg.EnsureTenant(ctx, s.pool, a.Tenant); err != nil {
		return nil, err
	}
	var fresh []Inserted
	err := pg.Tx(ctx, s.pool, func(tx pgx.Tx) error {
		fresh = nil
		if _, err := tx.Exec(ctx, s.q.Get("LockArrivals"), []string{string(a.ID)}); err != nil {
			return err
		}
		rows, err := tx.Query(ctx, s.q.Get("InsertBrokenJob"), a.ID, a.Tenant, a.AcceptedAt, detail)
		if err != nil {
			return err
		}
		if fresh, err = pgx.CollectRows(rows, scanInserted); err != nil || len(fresh) == 0 {
			return err
		}
		event := job.EventFailed
		if fresh[0].State == job.StateCancelled {
			event = job.EventCancelled
		}
		if n, wanted := notice(a.ID, a.Tenant, a.Spec.Callback, event); wanted {
			return s.sendNotices(ctx, tx, []Notice{n})
		}
		return nil
	})
	return fresh, err
}

func scanInserted(r pgx.CollectableRow) (in Inserted, err error) {
	err = r.Scan(&in.ID, &in.State, &in.Version.Version)
	return in, err
}

// EnsureTenant creates a tenant that does not exist; it fails as job.Internal
// if its name is not one.
func (s *Store) EnsureTenant(ctx context.Context, tenant job.Tenant) error {
	return pg.EnsureTenant(ctx, s.pool, tenant)
}

func (s *Store) sendNotices(ctx context.Context, tx pgx.Tx, notices []Notice) error {
	if len(notices) == 0 {
		return nil
	}
	var b pgx.Batch
	if err := s.queueNotices(&b, notices); err != nil {
		return err
	}
	return tx.SendBatch(ctx, &b).Close()
}

// CancelLate cancels up to limit jobs whose cancel was stored while the job
// was on its way into its row, so that neither side saw the other: programs
// from before lock_arrivals, which may still run beside this one, leave them.
// It returns what it cancelled.
func (s *Leased) CancelLate(ctx context.Context, limit int) ([]Version, error) {
	var done []Version
	err := s.tx(ctx, func(tx pgx.Tx) error {
		done = nil
		notices, ids, err := s.lockLateCancels(ctx, tx, limit)
		if err != nil || len(ids) == 0 {
			return err
		}
		if _, err := tx.Exec(ctx, s.q.Get("DropWork"), ids); err != nil {
			return err
		}
		if done, err = collectVersions(tx.Query(ctx, s.q.Get("CancelJobs"), ids)); err != nil {
			return err
		}
		return s.sendNotices(ctx, tx, notices)
	})
	return done, err
}

func (s *Store) lockLateCancels(ctx context.Context, tx pgx.Tx, limit int) (notices []Notice, ids []string, err error) {
	rows, err := tx.Query(ctx, s.q.Get("LockLateCancels"), limit)
	if err != nil {
		return nil, nil, err
	}
	var id, tenant string
	var callback *job.Callback
	_, err = pgx.ForEachRow(rows, []any{&id, &tenant, &callback}, func() error {
		ids = append(ids, id)
		if n, wanted := notice(job.ID(id), job.Tenant(tenant), callback, job.EventCancelled); wanted {
			notices = append(notices, n)
		}
		callback = nil
		return nil
	})
	return notices, ids, err
}
