package telemetry

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"sync"
	"time"

	"github.com/voicemill/voicemill/platform/lifecycle"
)

const (
	headerTimeout = 5 * time.Second
	adminGrace    = time.Second
)

// Admin is the admin port: health, readiness, metrics and profiles, for the
// machine's own network and never for clients. It is not ready until it is told
// what to check and all of it has passed. While it runs every check is made once
// a second, for two seconds at most; /readyz tells at once what came of them.
// Three failures in a row make it not ready, two successes ready again.
type Admin struct {
	listener net.Listener
	reg      *Registry
	log      *slog.Logger
	passing  GaugeVec
	warning  GaugeVec
	fresh    lifecycle.Signal // there are checks that nobody makes yet
	profiles bool             // for other machines, too
	mux      *http.ServeMux

	mu     sync.Mutex
	checks map[string]*watched // guarded by mu
}

// NewAdmin listens on addr at once, so that Addr is known before Run serves.
func NewAdmin(ctx context.Context, addr string, reg *Registry, log *slog.Logger) (*Admin, error) {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("listen on the admin port: %w", err)
	}
	return AdminOn(l, reg, log), nil
}

// AdminOn is NewAdmin on a TCP listener that exists, which the admin port closes.
func AdminOn(l net.Listener, reg *Registry, log *slog.Logger) *Admin {
	a := &Admin{
		mux: http.NewServeMux(), listener: l, reg: reg, log: log, checks: map[string]*watched{}, fresh: lifecycle.NewSignal(),
		passing: reg.GaugeVec("voicemill_check_passing", "Whether something that the process needs is there, 0 or 1.", "check"),
		warning: reg.GaugeVec("voicemill_check_warning", "Whether a check warns of something that an operator allowed, 0 or 1.", "check"),
	}
	a.mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("ok\n")) })
	a.mux.HandleFunc("GET /readyz", a.ready)
	a.mux.HandleFunc("GET /metrics", a.metrics)
	a.mux.HandleFunc("GET /debug/pprof/", a.local(pprof.Index))
	a.mux.HandleFunc("GET /debug/pprof/profile", a.local(pprof.Profile))
	a.mux.HandleFunc("GET /debug/pprof/trace", a.local(pprof.Trace))
	return a
}

// Handle adds a page for operators, once; pattern is that of [http.ServeMux]. It
// is safe for concurrent use.
func (a *Admin) Handle(pattern string, page http.HandlerFunc) { a.mux.HandleFunc(pattern, page) }

// AllowProfiles lets other machines have profiles, which show memory and may
// hold the process up. Call it before Run.
func (a *Admin) AllowProfiles() { a.profiles = true }

// Addr is where the admin port listens.
func (a *Admin) Addr() net.Addr { return a.listener.Addr() }

// AddChecks adds to what /readyz tells, all of it at once, so that nobody finds a
// process ready that has told the half. It is safe for concurrent use.
func (a *Admin) AddChecks(checks map[string]Check) {
	a.mu.Lock()
	for name, check := range checks {
		a.checks[name] = &watched{name: name, check: check, log: a.log, passing: a.passing.With(name), warning: a.warning.With(name)}
	}
	a.mu.Unlock()
	a.fresh.Raise()
}

// watch makes every check from when it is added until ctx is done, and waits for
// those that return.
func (a *Admin) watch(ctx context.Context) {
	var all sync.WaitGroup
	for {
		a.mu.Lock()
		for _, w := range a.checks {
			if !w.started {
				w.started = true
				all.Go(func() { w.run(ctx) })
			}
		}
		a.mu.Unlock()
		select {
		case <-a.fresh:
		case <-ctx.Done():
			all.Wait()
			return
		}
	}
}

// Run serves until ctx is done.
func (a *Admin) Run(ctx context.Context) error {
	if Exposed(a.listener.Addr()) {
		a.log.WarnContext(ctx, "the admin port asks for no password and other machines may reach it",
			slog.String("address", a.listener.Addr().String()), slog.Bool("profiles", a.profiles))
	}
	server := &http.Server{Handler: a.mux, ReadHeaderTimeout: headerTimeout}

	watching, unwatch := context.WithCancel(ctx)
	watched := make(chan struct{})
	go func() { defer close(watched); a.watch(watching) }()
	defer func() { unwatch(); <-watched }()
	served := make(chan error, 1)
	go func() { served <- server.Serve(a.listener) }()
	select {
	case err := <-served:
		return fmt.Errorf("serve the admin port: %w", err)
	case <-ctx.Done():
	}
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), adminGrace)
	defer cancel()
	if err := server.Shutdown(stop); err != nil {
		_ = server.Close() // a profile may run for minutes; nobody waits for it
	}
	if err := <-served; !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve the admin port: %w", err)
	}
	return nil
}

func (a *Admin) metrics(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
	if err := a.reg.Write(w); err != nil {
		a.log.WarnContext(r.Context(), "metrics not written", slog.Any("error", err))
	}
}

// ready answers 200 if every check passes, else 503; the body names each check
// and, for one that fails, what may be said of it in public. It is not ready
// without a check: the process is still on its way up.
func (a *Admin) ready(w http.ResponseWriter, _ *http.Request) {
	a.mu.Lock()
	results, ok := make(map[string]string, len(a.checks)), len(a.checks) > 0
	for name, check := range a.checks {
		detail, passes := check.verdict()
		results[name], ok = detail, ok && passes
	}
	a.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	if !ok {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	_ = json.NewEncoder(w).Encode(map[string]any{"ready": ok, "checks": results})
}
