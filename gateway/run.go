package gateway

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"runtime/debug"
	"sync/atomic"
	"time"

	"github.com/voicemill/voicemill/gateway/internal/accesslog"
	"github.com/voicemill/voicemill/gateway/internal/auth"
	"github.com/voicemill/voicemill/gateway/internal/documents"
	"github.com/voicemill/voicemill/gateway/internal/edge"
	"github.com/voicemill/voicemill/gateway/internal/intake"
	"github.com/voicemill/voicemill/gateway/internal/limit"
	"github.com/voicemill/voicemill/gateway/internal/offload"
	"github.com/voicemill/voicemill/gateway/internal/operation"
	"github.com/voicemill/voicemill/gateway/internal/quota"
	"github.com/voicemill/voicemill/gateway/internal/session"
	"github.com/voicemill/voicemill/gateway/internal/shed"
	"github.com/voicemill/voicemill/gateway/internal/store"
	"github.com/voicemill/voicemill/gateway/internal/transcode"
	"github.com/voicemill/voicemill/gateway/internal/voices"
	"github.com/voicemill/voicemill/gateway/internal/watch"
	"github.com/voicemill/voicemill/gateway/internal/web"
	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/platform/blob"
	"github.com/voicemill/voicemill/platform/bus"
	"github.com/voicemill/voicemill/platform/lifecycle"
	"github.com/voicemill/voicemill/platform/pg"
	"github.com/voicemill/voicemill/platform/telemetry"
)

// Deps are what the gateway is connected to. Whoever made them closes them,
// after Run has returned. Registry takes the gateway's metrics, so a process
// runs one gateway per Registry.
type Deps struct {
	Log      *slog.Logger
	Access   *slog.Logger  // for the access log; nil means Log
	LogLost  func() uint64 // how many lines the logs had to leave out, a counter; may be nil
	Registry *telemetry.Registry
	Admin    *telemetry.Admin // gets the readiness checks; may be nil
	Bus      *bus.Bus
	DB       *pg.Pool
	Blob     *blob.Store
	Random   io.Reader       // crypto/rand.Reader
	Listener net.Listener    // an inherited TCP listener; nil means to bind Config.Listen
	Tickets  *Tickets        // used if TLS.KeepsTickets; nil makes some
	Reload   <-chan struct{} // asks to read the TLS files again; may be nil
	Ready    func(net.Addr)  // is told once when clients are served; may be nil
	Voiced   func()          // is told once, after Ready, when there are voices and jobs are accepted; may be nil
}

// idKey is the setting that the tags of job ids and API keys are keyed with.
const (
	idKey      = "id_key"
	idKeyBytes = 32
)

// Run serves until ctx is done, then drains within cfg.Grace. It returns an
// error if the gateway could not start or a part of it ended by itself.
func Run(ctx context.Context, cfg Config, deps Deps) error {
	if err := cfg.Validate(); err != nil {
		return err
	}
	g, err := build(ctx, cfg, deps)
	if err != nil {
		return fmt.Errorf("start the gateway: %w", err)
	}
	if g.done != nil {
		defer g.done()
	}
	return g.run(ctx)
}

// gateway is everything that runs.
type gateway struct {
	cfg    Config
	dep    Deps
	store  *store.Store
	pool   *offload.Pool // runs calls
	reads  *offload.Gate // of those that ask Postgres
	in     *intake.Committer
	load   *shed.Controller
	hub    *watch.Hub
	docs   *documents.Cache
	voice  *voices.Directory
	quota  *quota.Directory
	coder  *transcode.Transcoder
	ops    *operation.Operations
	frames *session.Server
	edge   *edge.Server
	stored atomic.Bool // an envelope was, since the last check
	done   func()      // closes what the gateway opened beside its Deps; may be nil
}

func build(ctx context.Context, cfg Config, deps Deps) (*gateway, error) {
	g := &gateway{cfg: cfg, dep: deps}
	var err error
	if g.store, err = store.New(deps.DB, deps.Random); err != nil {
		return nil, err
	}
	readers := cfg.Readers
	if readers == 0 {
		readers = 2 * int(deps.DB.Config().MaxConns)
	}
	if g.reads, err = offload.NewGate(readers, cfg.ReadQueue); err != nil {
		return nil, err
	}
	if g.pool, err = offload.NewPool(cfg.calls()); err != nil {
		return nil, err
	}
	if g.load, err = shed.New(cfg.load()); err != nil {
		return nil, err
	}
	observe := observer(deps.Registry)
	in := cfg.intake(func(e intake.Envelope) {
		g.load.Observe(e.Waited+e.Took, time.Now())
		if e.Err == nil {
			g.stored.Store(true)
		}
		observe(e)
	})
	in.Panicked = func(p any) {
		deps.Log.LogAttrs(ctx, slog.LevelError, "answer to a job panicked", slog.Any("panic", p), slog.String("stack", string(debug.Stack())))
	}
	if g.in, err = intake.New(in, deps.Bus); err != nil {
		return nil, err
	}
	if g.hub, err = watch.New(cfg.watch(), g.store, deps.Log); err != nil {
		return nil, err
	}
	if g.docs, err = documents.New(cfg.documents()); err != nil {
		return nil, err
	}
	g.voice = voices.NewDirectory(g.store, deps.Log)
	g.quota = quota.NewDirectory(g.store, deps.Log)
	if g.coder, err = transcode.New(cfg.transcode(), deps.Log); err != nil {
		return nil, err
	}
	handler, err := g.handler(ctx)
	if err != nil {
		return nil, err
	}
	if cfg.TLS.KeepsTickets() && deps.Tickets == nil {
		if g.dep.Tickets, err = NewTickets(deps.Random, nil); err != nil {
			return nil, err
		}
	}
	secure, err := cfg.TLS.edge(deps.Random, g.dep.Tickets)
	if err != nil {
		return nil, err
	}
	door := edge.Config{
		Listen: cfg.Listen, Listener: deps.Listener, MaxConns: cfg.MaxConns, Grace: cfg.Grace, Refusal: handler.Refusal,
		Frames: g.frames.Frames, ProxyFrom: cfg.ProxyFrom, TLS: secure,
	}
	cfg.Bounds.apply(&door)
	if g.edge, err = edge.New(door, handler, deps.Log); err != nil {
		return nil, err
	}
	g.register()
	return g, nil
}

// handler joins what answers requests.
func (g *gateway) handler(ctx context.Context) (*web.Server, error) {
	key, err := idSecret(ctx, g.dep.DB, g.dep.Random)
	if err != nil {
		return nil, err
	}
	minter, err := job.NewMinter(key, g.dep.Random)
	if err != nil {
		return nil, err
	}
	keys, err := auth.NewCache(g.cfg.keys())
	if err != nil {
		return nil, err
	}
	guard, err := limit.New(g.cfg.limits())
	if err != nil {
		return nil, err
	}
	metrics := accesslog.NewMetrics(g.dep.Registry, web.Routes())
	deps := operation.Deps{
		Store: g.store.Behind(g.reads), Database: g.store.Answers, Bucket: newBucket(g.dep.Blob), Bus: g.dep.Bus, Intake: g.in, Hub: g.hub,
		Voices: g.voice, Quotas: g.quota, Keys: keys, Secrets: auth.NewSecrets(key, g.dep.Random), Documents: g.docs, Minter: minter, Log: g.dep.Log, Guard: guard, Load: g.load, Shed: metrics.Shed,
		Transcoder: g.coder,
	}
	verifier, done, err := g.cfg.JWT.tokens()
	if err != nil {
		return nil, err
	}
	if verifier != nil {
		deps.Tokens, g.done = verifier, done
	}
	if g.ops, err = operation.New(g.cfg.operation(), deps); err != nil {
		return nil, err
	}
	access := accesslog.New(g.cfg.access(), g.accessLog())
	g.frames, err = session.New(g.cfg.session(), session.Deps{
		Operations: g.ops, Pool: g.pool, Access: access, Metrics: metrics, Log: g.dep.Log, Random: g.dep.Random,
	})
	if err != nil {
		return nil, err
	}
	return web.New(g.cfg.web(guard.Policy()), web.Deps{
		Operations: g.ops, Pool: g.pool, Sessions: g.frames, Access: access, Metrics: metrics, Log: g.dep.Log, Random: g.dep.Random,
	})
}

func (g *gateway) accessLog() *slog.Logger {
	switch {
	case !g.cfg.AccessLog:
		return slog.New(slog.DiscardHandler)
	case g.dep.Access == nil:
		return g.dep.Log
	}
	return g.dep.Access
}

// run starts the parts, sinks first, so that the edge stops first.
func (g *gateway) run(ctx context.Context) error {
	if telemetry.Exposed(g.edge.Addr()) && (len(g.cfg.TLS.Cert) == 0 || g.cfg.TLS.Plain) {
		g.dep.Log.WarnContext(ctx, "keys and texts travel unencrypted: clients on other machines are served without TLS",
			slog.String("address", g.edge.Addr().String()))
	}
	if err := g.voice.Refresh(ctx); err != nil {
		_ = g.edge.Close()
		return err
	}
	var parts lifecycle.Stack
	parts.Add("calls", g.pool.Run)
	parts.Add("intake", g.in.Run)
	parts.Add("voices", g.voice.Run)
	parts.Add("quotas", g.quota.Run)
	parts.Add("keys", g.ops.RenewKeys)
	parts.Add("transcode", g.coder.Run)
	parts.Add("probe", g.probe)
	parts.Add("sweep", g.sweep)
	parts.Add("watch", g.hub.Run)
	parts.Add("hints", g.hints)
	parts.Add("reload", g.reload)
	if g.cfg.TLS.KeepsTickets() {
		parts.Add("tickets", func(ctx context.Context) error { return g.dep.Tickets.run(ctx, g.edge.SetTicketKeys) })
	}
	parts.Add("edge", g.serve)
	// The edge keeps its own grace and needs a moment beside it to close.
	return parts.Run(ctx, g.cfg.Grace+stopMargin)
}

const stopMargin = 2 * time.Second

// serve runs the edge and says when jobs are accepted. When the edge begins to
// drain, requests that wait for a job are answered.
func (g *gateway) serve(ctx context.Context) error {
	if g.dep.Ready != nil {
		g.dep.Ready(g.edge.Addr()) // bound already: a client that connects now is served in a moment
	}
	served := make(chan error, 1)
	go func() { served <- g.edge.Run(ctx) }()
	known := g.voice.Known()
	for {
		select {
		case <-known:
			known = nil
			if g.dep.Voiced != nil {
				g.dep.Voiced()
			}
		case err := <-served:
			return err
		case <-g.edge.Draining():
			g.hub.Drain()
			return <-served
		}
	}
}

// reload reads the TLS files again when it is asked to. The edge looks at them
// from time to time by itself.
func (g *gateway) reload(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-g.dep.Reload:
		}
		switch err := g.edge.Reload(); {
		case errors.Is(err, edge.ErrNoTLS):
			g.dep.Log.LogAttrs(ctx, slog.LevelInfo, "nothing to reload")
		case err != nil:
			g.dep.Log.LogAttrs(ctx, slog.LevelError, "certificates cannot be used, the old ones stay", slog.Any("error", err))
		default:
			g.dep.Log.LogAttrs(ctx, slog.LevelInfo, "certificates reloaded")
		}
	}
}

const (
	probeEvery = time.Second
	sweepEvery = 5 * time.Second
	hintPause  = time.Second
)

// probe keeps the store's circuit breaker up to date.
func (g *gateway) probe(ctx context.Context) error {
	return every(ctx, probeEvery, func() {
		if err := g.store.Probe(ctx); err != nil && ctx.Err() == nil {
			g.dep.Log.LogAttrs(ctx, slog.LevelWarn, "database cannot be reached", slog.Any("error", err))
		}
	})
}

// sweep forgets documents that are not believed any more.
func (g *gateway) sweep(ctx context.Context) error {
	return every(ctx, sweepEvery, func() { g.docs.Sweep(time.Now()) })
}

func every(ctx context.Context, period time.Duration, do func()) error {
	tick := time.NewTicker(period)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			do()
		}
	}
}

// hints passes the bus's hints to the hub and the cache; without them these are
// slower, not wrong.
func (g *gateway) hints(ctx context.Context) error {
	for {
		err := g.dep.Bus.Hints(ctx, func(h bus.Hinted) {
			g.docs.Hint(h.ID, h.Version)
			if h.Quiet {
				g.hub.HintQuietly(h.ID)
			} else {
				g.hub.Hint(h.ID)
			}
		})
		if ctx.Err() != nil {
			return nil //nolint:nilerr // the stop ended them
		}
		g.dep.Log.LogAttrs(ctx, slog.LevelDebug, "no hints", slog.Any("error", err))
		if !lifecycle.Sleep(ctx, hintPause) {
			return nil
		}
	}
}

var errNoVoices = errors.New("no worker has started")

// register adds gauges and readiness checks.
func (g *gateway) register() {
	reg := g.dep.Registry
	reg.GaugeFunc("voicemill_gateway_intake_jobs", "Jobs that are not durable yet.", func() float64 { n, _ := g.in.Depth(); return float64(n) })
	reg.GaugeFunc("voicemill_gateway_intake_bytes", "Bytes of jobs that are not durable yet.", func() float64 { _, n := g.in.Depth(); return float64(n) })
	reg.GaugeFunc("voicemill_gateway_intake_latency_seconds", "Mean time that jobs take to become durable.", func() float64 { return g.load.Latency(time.Now()).Seconds() })
	reg.GaugeFunc("voicemill_gateway_reads_waiting", "Requests that wait to ask Postgres.", func() float64 { return float64(g.reads.Waiting()) })
	reg.GaugeFunc("voicemill_gateway_watchers", "Requests that wait for a job.", func() float64 { return float64(g.hub.Waiting()) })
	reg.GaugeFunc("voicemill_gateway_watches", "Watches that are open.", func() float64 { return float64(g.ops.Watches()) })
	reg.GaugeFunc("voicemill_gateway_speeches", "Speeches on their way to their clients.", func() float64 { return float64(g.ops.Speaking()) })
	reg.GaugeFunc("voicemill_gateway_transcodes", "Processes of ffmpeg.", func() float64 { return float64(g.coder.Running()) })
	reg.GaugeFunc("voicemill_gateway_documents_bytes", "Memory of documents of jobs that are kept to answer from, about.", func() float64 { return float64(g.docs.Bytes()) })
	reg.CounterFunc("voicemill_gateway_log_lines_lost_total", "Lines of the log that were left out because its reader was behind.", func() float64 {
		if g.dep.LogLost == nil {
			return 0
		}
		return float64(g.dep.LogLost())
	})
	measure(reg, g.edge.Stats())
	if g.dep.Admin == nil {
		return
	}
	g.dep.Admin.AddChecks(map[string]telemetry.Check{
		"gateway/database": g.store.Probe,
		"gateway/bus":      g.dep.Bus.Ready,
		"gateway/bus-sync": g.dep.Bus.Synced,
		"gateway/intake":   g.acceptsJobs,
		"gateway/bucket":   g.dep.Blob.Ready,
		"gateway/voices": func(context.Context) error {
			if len(g.voice.All()) == 0 {
				return &job.Error{Op: "gateway.ready", Kind: job.Unavailable, Public: "There are no voices yet.", Err: errNoVoices}
			}
			return nil
		},
	})
}

// acceptsJobs finds out whether a job could be made durable now. While jobs are,
// nothing is asked.
func (g *gateway) acceptsJobs(ctx context.Context) error {
	if g.stored.Swap(false) {
		return nil
	}
	return g.dep.Bus.ProbeIntake(ctx) //nolint:wrapcheck // says what is wrong
}

// observer counts envelopes.
func observer(reg *telemetry.Registry) func(intake.Envelope) {
	jobs := reg.Histogram("voicemill_gateway_envelope_jobs", "Jobs of one envelope.", []float64{1, 2, 4, 8, 16, 32, 64, 128, 256, 512})
	ack := reg.Histogram("voicemill_gateway_envelope_ack_seconds", "Time to the acknowledgement of an envelope.", telemetry.LatencyBuckets())
	waited := reg.Histogram("voicemill_gateway_envelope_wait_seconds", "Time that the first job of an envelope waited to leave.", telemetry.LatencyBuckets())
	failed := reg.Counter("voicemill_gateway_envelopes_failed_total", "Envelopes without an acknowledgement.")
	return func(e intake.Envelope) {
		jobs.Observe(float64(e.Jobs))
		ack.Observe(e.Took.Seconds())
		waited.Observe(e.Waited.Seconds())
		if e.Err != nil {
			failed.Inc()
		}
	}
}
