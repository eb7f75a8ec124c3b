package export

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/platform/blob"
	"github.com/voicemill/voicemill/platform/blob/foreign"
	"github.com/voicemill/voicemill/platform/lifecycle"
	"github.com/voicemill/voicemill/platform/seal"
	"github.com/voicemill/voicemill/scheduler/internal/store"
)

// The outcomes of an attempt, as [Dispatcher] reports them.
const (
	Delivered = "delivered"
	Retrying  = "retrying"
	Failed    = "failed"
)

const pauseTo = 5 * time.Second // between tries while the database is away

// Source is our own bucket.
type Source interface {
	Get(ctx context.Context, key string, opts blob.GetOptions) (io.ReadCloser, blob.Info, error)
}

// Deps are the parts a Dispatcher works with; all are needed.
type Deps struct {
	Log     *slog.Logger
	Source  Source
	Foreign foreign.Config
	// Changed is told the version that a job got.
	Changed func(id job.ID, version int64)
	// Observe is told the outcome of every attempt at a job's files.
	Observe func(outcome string)
}

// Dispatcher delivers files. Create it with [New]; Hint may be called by any
// goroutine at any time, Run by one at a time.
type Dispatcher struct {
	cfg    Config
	deps   Deps
	keys   seal.Keys
	leased *store.Leased // of the term that Run runs in
	nudge  lifecycle.Signal
}

// New returns a Dispatcher that is not running yet.
func New(cfg Config, deps Deps) (*Dispatcher, error) {
	keys, err := deps.Foreign.Sealing()
	if err != nil {
		return nil, fmt.Errorf("export: %w", err)
	}
	return &Dispatcher{cfg: cfg, deps: deps, keys: keys, nudge: lifecycle.NewSignal()}, nil
}

// Hint says that something may be due. It never blocks.
func (d *Dispatcher) Hint() { d.nudge.Raise() }

// Run delivers what is due under the lease of s until ctx is done, waits for what is on
// its way, as far as the grace allows, and returns nil. Faults of the database are
// logged and waited out.
func (d *Dispatcher) Run(ctx context.Context, s *store.Leased) error {
	d.leased = s
	work, cancel := lifecycle.Linger(ctx, d.cfg.Grace)
	defer cancel()
	f := flight{jobs: map[int64]job.Tenant{}, landed: make(chan int64, d.cfg.Concurrency)}
	defer func() {
		for len(f.jobs) > 0 { // each ends with work at the latest
			delete(f.jobs, <-f.landed)
		}
	}()
	tick := time.NewTimer(0)
	defer tick.Stop()
	pause, last := d.cfg.Tick, ""
	for {
		select {
		case <-ctx.Done():
			return nil
		case num := <-f.landed:
			delete(f.jobs, num)
		case <-d.nudge:
		case <-tick.C:
		}
		err := d.round(ctx, work, &f)
		switch {
		case err == nil:
			pause, last = d.cfg.Tick, ""
		case ctx.Err() == nil && err.Error() != last:
			last = err.Error()
			d.deps.Log.WarnContext(ctx, "deliveries into buckets wait", slog.String("error", last))
			fallthrough
		default:
			pause = min(2*pause, pauseTo)
		}
		tick.Reset(pause)
	}
}

// flight are the jobs whose files are on their way. Only the goroutine of Run touches
// it; attempts report on landed, which has room for all of them.
type flight struct {
	jobs   map[int64]job.Tenant
	landed chan int64
}

// round starts as many as there is room for.
func (d *Dispatcher) round(ctx, work context.Context, f *flight) error {
	for room := d.cfg.Concurrency - len(f.jobs); room > 0; room = d.cfg.Concurrency - len(f.jobs) {
		var flying []int64
		of := map[job.Tenant]int{}
		for num, tenant := range f.jobs {
			flying = append(flying, num)
			of[tenant]++
		}
		var sated []job.Tenant
		for tenant, n := range of {
			if n >= d.cfg.PerTenant {
				sated = append(sated, tenant)
			}
		}
		due, err := d.leased.DueExports(ctx, room, flying, sated)
		if err != nil {
			return fmt.Errorf("look for due deliveries: %w", err)
		}
		started := 0
		for _, e := range due {
			if of[e.Tenant] >= d.cfg.PerTenant {
				continue
			}
			of[e.Tenant]++
			started++
			f.jobs[e.Job] = e.Tenant
			go func() { // Run waits for it
				defer func() { f.landed <- e.Job }()
				d.attempt(work, e)
			}()
		}
		if started == 0 {
			return nil
		}
	}
	return nil
}

// attempt delivers what is left of a job's files, and records how that ended.
func (d *Dispatcher) attempt(ctx context.Context, e store.Export) {
	log := d.deps.Log.With(slog.String("tenant", string(e.Tenant)), slog.String("job_id", string(e.JobID)), slog.String("bucket", e.BucketID))
	a := attempt{d: d, e: e}
	err := a.run(ctx)
	if ctx.Err() != nil || errors.Is(err, store.ErrExportOver) {
		return // another leader, or the next round, goes on
	}
	outcome := Delivered
	switch {
	case err == nil:
		err = a.change(d.leased.EndExport(ctx, e, store.ExportDelivered, "", ""))
	case job.Retryable(err) && (a.moved || e.Failing < d.cfg.Patience):
		outcome = Retrying
		n := e.Attempts + 1
		if a.moved {
			n = 1
		}
		wait := d.cfg.wait(n, random())
		log.WarnContext(ctx, "files not delivered; it is tried again", slog.String("error", err.Error()), slog.Duration("again_in", wait))
		err = a.change(d.leased.PostponeExport(ctx, e, wait, job.KindOf(err), says(err), a.replan))
	default:
		outcome = Failed
		log.WarnContext(ctx, "files not delivered", slog.String("error", err.Error()))
		err = a.change(d.leased.EndExport(ctx, e, store.ExportFailed, job.KindOf(err).String(), says(err)))
	}
	if err != nil {
		if ctx.Err() == nil && !errors.Is(err, store.ErrExportOver) {
			log.WarnContext(ctx, "delivery not recorded; it is tried again", slog.String("error", err.Error()))
		}
		return
	}
	d.deps.Observe(outcome)
}

// says is what the owner is told.
func says(err error) string {
	return job.PublicOf(err, "The files could not be delivered because of a fault on our side.")
}
