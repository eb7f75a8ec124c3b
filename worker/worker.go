package worker

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/platform/blob"
	"github.com/voicemill/voicemill/platform/bus"
	"github.com/voicemill/voicemill/platform/lifecycle"
	"github.com/voicemill/voicemill/platform/pg"
	"github.com/voicemill/voicemill/platform/telemetry"
	"github.com/voicemill/voicemill/worker/internal/assemble"
	"github.com/voicemill/voicemill/worker/internal/commit"
	"github.com/voicemill/voicemill/worker/internal/consume"
	"github.com/voicemill/voicemill/worker/internal/deliver"
	"github.com/voicemill/voicemill/worker/internal/engine"
	"github.com/voicemill/voicemill/worker/internal/engineset"
	"github.com/voicemill/voicemill/worker/internal/fleet"
	"github.com/voicemill/voicemill/worker/internal/lease"
	"github.com/voicemill/voicemill/worker/internal/meter"
	"github.com/voicemill/voicemill/worker/internal/store"
	"github.com/voicemill/voicemill/worker/internal/synth"
)

// Deps are the connections that a worker works with. They stay the caller's to
// close, after Run has returned. Registry, Admin and Ready may be nil.
type Deps struct {
	Log      *slog.Logger
	Registry *telemetry.Registry // takes the worker's metrics: one worker for each
	Admin    *telemetry.Admin    // gets the readiness checks
	Bus      *bus.Bus            // set up
	DB       *pg.Pool            // migrated
	Blob     *blob.Store
	Random   io.Reader // safe for concurrent use, as crypto/rand.Reader is
	Version  string    // of the program, as manifests name it; empty: unknown
	Ready    func()    // called once, when work is pulled
}

func (d Deps) validate() error {
	if d.Log == nil || d.Bus == nil || d.DB == nil || d.Blob == nil || d.Random == nil {
		return errors.New("worker: Log, Bus, DB, Blob and Random are all needed")
	}
	return nil
}

// Run starts the engines of cfg's pools and works until ctx is done. Then it
// gives back at once what it has not begun, finishes what it has within
// cfg.Grace, and ends the engines. Dependencies that go away meanwhile are
// waited for, for ever; Run fails only for a wrong configuration, an engine
// that cannot be started, or a part that does not end in time.
func Run(ctx context.Context, cfg Config, deps Deps) (err error) {
	if err := errors.Join(cfg.Validate(), deps.validate()); err != nil {
		return err
	}
	pools, missing, err := cfg.pools()
	if err != nil {
		return fmt.Errorf("worker: %w", err)
	}
	if missing != nil {
		deps.Log.WarnContext(ctx, "installed neural voices are not used", slog.Any("error", missing))
	}
	began, m := time.Now(), newMeter(deps, pools)
	p := connected(deps)
	ears, err := cfg.openEars(ctx, m, deps.Log.With(slog.String("service", "worker"), slog.String("part", "hear")))
	if err != nil {
		return err
	}
	var admits fleet.Ear
	if ears != nil {
		p.ear, admits = ears, ears
		defer func() { err = errors.Join(err, ears.Close()) }() // after the fleets, which are heard
	}
	fleets, err := openFleets(ctx, cfg, pools, admits, m, deps.Log.With(slog.String("service", "worker")))
	defer func() {
		for _, f := range fleets {
			err = errors.Join(err, f.Close())
		}
	}()
	if err != nil {
		return fmt.Errorf("worker: %w", err)
	}
	s, err := build(ctx, cfg, deps, p, m, pools, fleets)
	if err != nil {
		return err
	}
	if deps.Admin != nil {
		deps.Admin.AddChecks(checks(deps, pools, fleets))
	}
	s.began = began // before the engines were started
	return s.run(ctx)
}

// openFleets starts the engines of all pools side by side: some load hundreds of
// megabytes. What was started is returned with an error, too.
func openFleets(ctx context.Context, cfg Config, pools []Pool, ear fleet.Ear, m *meter.Meter, log *slog.Logger) ([]*fleet.Fleet, error) {
	fleets, errs := make([]*fleet.Fleet, len(pools)), make([]error, len(pools))
	var wg sync.WaitGroup
	for i, p := range pools {
		wg.Go(func() {
			drivers, err := engineset.Open(ctx, p, ear, log.With(slog.String("part", "engine")))
			if err != nil {
				errs[i] = err
				return
			}
			if fleets[i], err = fleet.New(cfg.fleet(p, ear, m, log.With(slog.String("part", "fleet"))), drivers...); err != nil {
				errs[i] = errors.Join(err, closeAll(drivers))
			}
		})
	}
	wg.Wait()
	return slices.DeleteFunc(fleets, func(f *fleet.Fleet) bool { return f == nil }), errors.Join(errs...)
}

func closeAll(drivers []engine.Engine) (err error) {
	for _, d := range drivers {
		err = errors.Join(err, d.Close())
	}
	return err
}

// newMeter returns the worker's metrics; nil if nobody takes them.
func newMeter(deps Deps, pools []Pool) *meter.Meter {
	if deps.Registry == nil {
		return nil
	}
	return meter.New(deps.Registry, names(pools)...)
}

// checks are what a worker needs to work: its connections, room in the bucket, and
// for every pool an engine that is alive.
func checks(deps Deps, pools []Pool, fleets []*fleet.Fleet) map[string]telemetry.Check {
	all := map[string]telemetry.Check{
		"worker/bus":      deps.Bus.Ready,
		"worker/bus-sync": deps.Bus.Synced,
		"worker/database": func(ctx context.Context) error { return pg.Classify(deps.DB.Ping(ctx)) },
		"worker/bucket":   deps.Blob.ReadyToWrite,
	}
	for i, pool := range pools {
		all["worker/pool/"+pool.Name] = fleets[i].Probe
	}
	return all
}

// parts are what a worker reads from and writes to. Tests put faults between.
type parts struct {
	work       func(pool string) consume.Source
	assemblies assemble.Source
	encodings  assemble.Source
	blob       assemble.Blob
	settle     func(*store.Store) commit.Store
	claims     func(*store.Store) consume.Claims
	ear        synth.Ear // nil: nothing is heard
}

// connected returns the parts over the connections of deps.
func connected(deps Deps) parts {
	return parts{
		work:       func(pool string) consume.Source { return consume.Lane{Bus: deps.Bus, Pool: pool} },
		assemblies: assemble.Queue{Bus: deps.Bus},
		encodings:  assemble.Queue{Bus: deps.Bus, Encode: true},
		blob:       deps.Blob,
		settle:     func(s *store.Store) commit.Store { return s },
		claims:     func(s *store.Store) consume.Claims { return s },
	}
}

// service is one worker, wired.
type service struct {
	cfg       Config
	deps      Deps
	log       *slog.Logger
	store     *store.Store
	pools     []Pool
	fleets    []*fleet.Fleet // of pools
	voices    []store.Voice
	formats   []string // that are encoded here
	ear       bool     // what is spoken here can be heard
	keeper    *lease.Keeper
	committer *commit.Committer
	reports   []func() bus.Capacity
	began     time.Time
	changed   lifecycle.Signal              // something is to be reported now
	takers    []func(context.Context) error // what pulls from the bus
}

// build wires a worker. The fleets are those of pools, in the same order.
func build(ctx context.Context, cfg Config, deps Deps, p parts, m *meter.Meter, pools []Pool, fleets []*fleet.Fleet) (*service, error) {
	st, err := store.New(deps.DB, deps.Random)
	if err != nil {
		return nil, err
	}
	log := deps.Log.With(slog.String("service", "worker"))
	part := func(name string) *slog.Logger { return log.With(slog.String("part", name)) }
	s := &service{
		cfg: cfg, deps: deps, log: log, store: st, pools: pools, fleets: fleets, voices: voices(pools, fleets),
		keeper: lease.NewKeeper(cfg.lease(deps.Bus.AckWait()), part("lease")), changed: lifecycle.NewSignal(),
		began: time.Now(), ear: p.ear != nil,
	}
	tell := func(n bus.Settled) { deps.Bus.TellSettled([]bus.Settled{n}) }
	assembly := assemble.Deps{
		Source: p.assemblies, Encode: p.encodings, Store: st, Blob: p.blob, Docs: deps.Blob, Keeper: s.keeper,
		Hint: deps.Bus.Hint, Tell: tell, Meter: m, Log: part("assemble"), Version: cmp.Or(deps.Version, "unknown"),
	}
	if coder := s.coder(ctx, p.blob, tell); coder != nil {
		assembly.Coder = coder
	}
	assembler := assemble.New(cfg.assemble(), assembly)
	s.committer = commit.New(cfg.commit(), p.settle(st), part("commit"), func(group []store.Outcome, done store.Settled) {
		m.Group(len(group))
		deps.Bus.TellSettled(settledNotes(group, done))
		for _, c := range done.Changes {
			deps.Bus.Hint(c.ID, c.Version)
			if c.Whole {
				assembler.Whole(c.ID)
			}
		}
	})
	deliverer := deliver.New(cfg.deliver(), deliver.Deps{Blob: p.blob, Commit: s.committer, Going: st.Discarded, Random: deps.Random, Log: part("deliver")})
	suspects, stores := make(chan struct{}, 1), make(chan struct{}, storesAtOnce)
	for i, pool := range pools {
		cc, sc := cfg.consume(pool, fleets[i].Info()), cfg.synth(pool)
		if err := errors.Join(cc.Validate(), sc.Validate()); err != nil {
			return nil, fmt.Errorf("worker: %w", err)
		}
		cc.Changed = s.changed.Raise
		caller := synth.New(sc, synth.Deps{Fleet: fleets[i], Store: st, Deliver: deliverer, Ear: p.ear, Meter: m, Suspects: suspects, Stores: stores, Log: part("synth")})
		taker := consume.New(cc, consume.Deps{
			Source: p.work(pool.Name), Claims: p.claims(st), Caller: caller, Engines: fleets[i], Keeper: s.keeper, Log: part("consume"),
		})
		s.takers = append(s.takers, taker.Run)
		var coldStart time.Duration
		s.reports = append(s.reports, func() bus.Capacity { // of one goroutine
			c := taker.Capacity()
			if coldStart == 0 && c.Slots > 0 {
				coldStart = time.Since(s.began)
			}
			return bus.Capacity{
				Pool: pool.Name, Slots: c.Slots, Spared: c.Spared, Batch: c.Batch, Static: c.Batch > 1, Goodput: c.Goodput, ColdStart: coldStart.Seconds(),
			}
		})
	}
	s.takers = append(s.takers, assembler.Run)
	s.reports = append(s.reports, func() bus.Capacity {
		return bus.Capacity{Pool: bus.PoolAssemble, Slots: 2 * cfg.Assemblies, Spared: cfg.Assemblies, Batch: 1}
	})
	if len(s.formats) > 0 {
		s.reports = append(s.reports, func() bus.Capacity {
			return bus.Capacity{Pool: bus.PoolEncode, Slots: 2 * cfg.Encodings, Spared: cfg.Encodings, Batch: 1}
		})
	}
	return s, nil
}

// run registers the voices and works until ctx is done.
func (s *service) run(ctx context.Context) error {
	if err := s.register(ctx); err != nil {
		return err
	}
	var stack lifecycle.Stack
	stack.Add("leases", s.keeper.Run)
	stack.Add("commit", s.committer.Run)
	stack.Add("intake", s.take)
	stack.Add("report", s.report)
	if s.deps.Ready != nil {
		s.deps.Ready()
	}
	// The grace is for what runs; giving back, and waiting for a pull to end, come on top.
	return stack.Run(ctx, s.cfg.Grace+lastGroup+poll)
}

// take runs everything that pulls, so that all of it stops pulling at once.
func (s *service) take(ctx context.Context) error {
	var wg sync.WaitGroup
	errs := make([]error, len(s.takers))
	for i, run := range s.takers {
		wg.Go(func() { errs[i] = run(ctx) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

// register makes known which voices, encoders and ears there are; a database that is away is waited for.
func (s *service) register(ctx context.Context) error {
	host, err := os.Hostname() // workers of one machine have one ffmpeg
	if err != nil {
		return fmt.Errorf("worker: name this machine: %w", err)
	}
	for {
		err := s.store.PutEncoders(ctx, host, s.formats) // first: who sees the voices asks for formats
		if err == nil {
			err = s.store.PutEar(ctx, host, s.ear)
		}
		if err == nil {
			err = s.store.PutVoices(ctx, s.voices)
		}
		if err == nil {
			s.log.InfoContext(ctx, "voices registered", slog.Int("voices", len(s.voices)))
			return nil
		}
		if !job.Retryable(err) {
			return fmt.Errorf("worker: register the voices: %w", err)
		}
		s.log.WarnContext(ctx, "voices wait to be registered", slog.String("error", err.Error()))
		if !lifecycle.Sleep(ctx, registrationPause) {
			return nil // the stop came first
		}
	}
}

func names(pools []Pool) []string {
	all := make([]string, len(pools))
	for i, p := range pools {
		all[i] = p.Name
	}
	return all
}

// voices lists the voices of all pools. In each language the first one of the
// first pool is offered as the default.
func voices(pools []Pool, fleets []*fleet.Fleet) []store.Voice {
	var all []store.Voice
	named, spoken := map[string]bool{}, map[string]bool{}
	for i, f := range fleets {
		info := f.Info()
		for _, v := range info.Voices {
			if named[v.Name] {
				continue // a pool before has it
			}
			named[v.Name] = true
			all = append(all, store.Voice{
				Name: v.Name, Pool: pools[i].Name, Language: v.Language, Engine: synth.EngineName(info, v),
				SampleRate: info.Rate, Default: !spoken[v.Language], Licence: v.Licence, Attribution: v.Attribution, Instructions: v.Instructions,
			})
			spoken[v.Language] = true
		}
	}
	return all
}
