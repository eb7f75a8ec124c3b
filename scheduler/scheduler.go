package scheduler

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"

	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/platform/blob"
	"github.com/voicemill/voicemill/platform/bus"
	"github.com/voicemill/voicemill/platform/lifecycle"
	"github.com/voicemill/voicemill/platform/pg"
	"github.com/voicemill/voicemill/platform/telemetry"
	"github.com/voicemill/voicemill/scheduler/internal/backlog"
	"github.com/voicemill/voicemill/scheduler/internal/callback"
	"github.com/voicemill/voicemill/scheduler/internal/export"
	"github.com/voicemill/voicemill/scheduler/internal/housekeeping"
	"github.com/voicemill/voicemill/scheduler/internal/intake"
	"github.com/voicemill/voicemill/scheduler/internal/plan"
	"github.com/voicemill/voicemill/scheduler/internal/reader"
	"github.com/voicemill/voicemill/scheduler/internal/release"
	"github.com/voicemill/voicemill/scheduler/internal/retention"
	"github.com/voicemill/voicemill/scheduler/internal/store"
)

// leaseName is the lease of the one scheduler that leads.
const leaseName = "scheduler"

// firstVersion is the version of a job that was just stored.
const firstVersion = 1

// Deps are the connections that a scheduler works with. They stay the
// caller's to close. Admin and Ready may be nil; the others are needed.
type Deps struct {
	Log      *slog.Logger
	Registry *telemetry.Registry
	Admin    *telemetry.Admin // gets the readiness checks
	Bus      *bus.Bus         // set up
	DB       *pg.Pool         // migrated
	Blob     *blob.Store
	Random   io.Reader // safe for concurrent use, as crypto/rand.Reader is
	Ready    func()    // called once, when the scheduler runs
}

func (d Deps) validate() error {
	switch {
	case d.Log == nil, d.Registry == nil, d.Bus == nil, d.DB == nil, d.Blob == nil, d.Random == nil:
		return errors.New("scheduler: Log, Registry, Bus, DB, Blob and Random are all needed")
	}
	return nil
}

// Run runs a scheduler until ctx is done, then ends it in order, within
// cfg.Grace a part. It returns nil after a clean end. Dependencies that go away
// meanwhile are waited for, for ever; Run fails only for a wrong configuration,
// a part that does not end in time, or a fault of its own.
func Run(ctx context.Context, cfg Config, deps Deps) error {
	if err := cfg.Validate(); err != nil {
		return err
	}
	if err := deps.validate(); err != nil {
		return err
	}
	s, err := assemble(cfg.withDefaults(), deps)
	if err != nil {
		return err
	}
	var stack lifecycle.Stack
	stack.Add("leader", s.lead)
	stack.Add("hints", s.listen)
	stack.Add("notes", s.hear)
	stack.Add("intake", s.intake.Run)
	if deps.Admin != nil {
		deps.Admin.Handle("GET /backlog", s.serveBacklog)
		deps.Admin.AddChecks(map[string]telemetry.Check{
			"scheduler/bus":      deps.Bus.Ready,
			"scheduler/bus-sync": deps.Bus.Synced,
			"scheduler/database": func(ctx context.Context) error { return pg.Classify(deps.DB.Ping(ctx)) },
			"scheduler/bucket":   deps.Blob.Ready, // it reads manuscripts and removes what nobody needs
		})
	}
	if deps.Ready != nil {
		deps.Ready()
	}
	return stack.Run(ctx, 2*cfg.Grace)
}

// ServeChild does the work of a process that a scheduler started beside itself:
// reading one foreign document. ok is false if this process is none of those.
// Every main that runs a scheduler asks it first.
func ServeChild(args []string, in io.Reader, out io.Writer) (code int, ok bool) {
	if !reader.IsChild(args) {
		return 0, false
	}
	return reader.Serve(in, out), true
}

// service is one scheduler, wired.
type service struct {
	cfg  Config
	deps Deps

	metrics  *metrics
	store    *store.Store
	intake   *intake.Intake
	planner  *plan.Planner
	releaser *release.Releaser
	callback *callback.Dispatcher
	export   *export.Dispatcher
	keeper   *housekeeping.Keeper
	sweeper  *retention.Sweeper

	meter   *backlog.Meter
	counted counted
}

func assemble(cfg Config, deps Deps) (*service, error) {
	st, err := store.New(deps.DB, deps.Random)
	if err != nil {
		return nil, err
	}
	s := &service{cfg: cfg, deps: deps, metrics: newMetrics(deps.Registry), store: st, meter: backlog.NewMeter()}
	log := func(part string) *slog.Logger {
		return deps.Log.With(slog.String("service", "scheduler"), slog.String("part", part))
	}
	s.intake = intake.New(intake.Deps{Store: st, Bus: deps.Bus, Log: log("intake"), Stored: s.stored})
	if s.planner, err = plan.New(cfg.Plan, plan.Deps{Uploads: deps.Blob, Covers: deps.Blob, Random: deps.Random, Log: log("plan"), Limits: cfg.Limits, Planned: s.planned}); err != nil {
		return nil, err
	}
	s.releaser = release.New(cfg.Release, release.Deps{Bus: deps.Bus, Log: log("release"), Observe: s.metrics.released})
	s.callback = callback.New(cfg.Callback, callback.Deps{Log: log("callback"), Changed: deps.Bus.Hint, Observe: s.metrics.delivered})
	s.export, err = export.New(cfg.Export, export.Deps{Log: log("export"), Source: deps.Blob, Foreign: cfg.Bucket, Changed: s.delivered, Observe: s.metrics.exported})
	if err != nil {
		return nil, err
	}
	s.keeper = housekeeping.New(cfg.Housekeeping, deps.Blob, log("housekeeping"), s.cancelled)
	s.sweeper = retention.New(cfg.Retention, deps.Blob, log("retention"))
	return s, nil
}

// lead runs the parts of which there is one in a deployment. A process that NATS
// does not hear gives way to one that it does.
func (s *service) lead(ctx context.Context) error {
	holder, err := job.NewToken("scheduler_", s.deps.Random)
	if err != nil {
		return err
	}
	e := pg.Election{Name: leaseName, Holder: holder, Fit: s.deps.Bus.Healthy, Log: s.deps.Log}
	return pg.Lead(ctx, s.deps.DB, e, func(ctx context.Context, lease pg.Lease) error {
		s.metrics.leading(true)
		defer s.metrics.leading(false)
		var stack lifecycle.Stack
		leased := s.store.Under(lease)
		under := func(run func(context.Context, *store.Leased) error) func(context.Context) error {
			return func(ctx context.Context) error { return run(ctx, leased) }
		}
		stack.Add("callback", under(s.callback.Run))
		stack.Add("export", under(s.export.Run))
		stack.Add("release", under(s.releaser.Run))
		stack.Add("plan", under(s.planner.Run))
		stack.Add("housekeeping", under(s.keeper.Run))
		stack.Add("retention", under(s.sweeper.Run))
		stack.Add("backlog", under(s.watchBacklog))
		stack.Add("parked", s.watchParked)
		return stack.Run(ctx, s.cfg.Grace)
	})
}

// listen passes hints on: whatever changed may have made something due.
func (s *service) listen(ctx context.Context) error {
	err := s.deps.Bus.Hints(ctx, func(h bus.Hinted) {
		if h.Version == firstVersion { // this scheduler or another has stored it: there is nothing to release yet
			s.planner.Wake()
		}
		if h.Quiet { // it has made nothing due
			return
		}
		s.callback.Hint()
		if h.Version != firstVersion {
			s.releaser.Hint()
			s.export.Hint()
		}
	})
	if err != nil {
		return fmt.Errorf("listen to hints: %w", err)
	}
	return nil
}

// hear passes on what workers tell.
func (s *service) hear(ctx context.Context) error {
	if err := s.deps.Bus.Notes(ctx, s.releaser.Settled, s.capacity); err != nil {
		return fmt.Errorf("listen to notes: %w", err)
	}
	return nil
}

// stored counts. It wakes nobody: the hint of each job's first version wakes the planner, here or where it leads.
func (s *service) stored(jobs int, fresh []store.Inserted) { s.metrics.stored(jobs, fresh) }

func (s *service) planned(o plan.Outcome) {
	s.metrics.planned(o)
	switch {
	case o.Fresh != nil:
		s.releaser.Fresh(o.ID, o.Fresh)
	case o.Queued:
		s.releaser.Notice(o.ID)
	}
	if o.Queued && o.Reused == 0 {
		s.deps.Bus.HintQuietly(o.ID, o.Version.Version)
	} else {
		s.deps.Bus.Hint(o.ID, o.Version.Version)
	}
}

// delivered tells of a version that a delivery into a bucket made; the owner may be owed a callback.
func (s *service) delivered(id job.ID, version int64) {
	s.deps.Bus.Hint(id, version)
	s.callback.Hint()
}

func (s *service) cancelled(jobs []store.Version) {
	for _, v := range jobs {
		s.deps.Bus.Hint(v.ID, v.Version)
	}
}
