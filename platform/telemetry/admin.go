package telemetry

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/http/pprof"
	"sync"
	"time"

	"github.com/voicemill/voicemill/job"
)

const (
	checkTimeout  = 2 * time.Second
	headerTimeout = 5 * time.Second
	adminGrace    = time.Second
)

// Check says whether one thing that the process needs is there. It must return
// when ctx is done.
type Check func(ctx context.Context) error

// Admin is the admin port: health, readiness, metrics and profiles, for the
// machine's own network and never for clients. It is not ready until it is told
// what to check.
type Admin struct {
	listener net.Listener
	reg      *Registry
	log      *slog.Logger

	mu     sync.Mutex
	checks map[string]Check
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
	return &Admin{listener: l, reg: reg, log: log, checks: map[string]Check{}}
}

// Addr is where the admin port listens.
func (a *Admin) Addr() net.Addr { return a.listener.Addr() }

// AddChecks adds to what /readyz asks, all of it at once, so that nobody finds a
// process ready that has told the half. It is safe for concurrent use.
func (a *Admin) AddChecks(checks map[string]Check) {
	a.mu.Lock()
	defer a.mu.Unlock()
	maps.Copy(a.checks, checks)
}

// Run serves until ctx is done.
func (a *Admin) Run(ctx context.Context) error {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("ok\n")) })
	mux.HandleFunc("GET /readyz", a.ready)
	mux.HandleFunc("GET /metrics", a.metrics)
	mux.HandleFunc("GET /debug/pprof/", pprof.Index)
	mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	server := &http.Server{Handler: mux, ReadHeaderTimeout: headerTimeout}

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
// and, for one that fails, what may be said of it in public.
func (a *Admin) ready(w http.ResponseWriter, r *http.Request) {
	results, ok := a.Ready(r.Context())
	w.Header().Set("Content-Type", "application/json")
	if !ok {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	_ = json.NewEncoder(w).Encode(map[string]any{"ready": ok, "checks": results})
}

// Ready runs every check at once, each for at most two seconds, and returns
// "ok" or the kind of failure for each. It is not ok without a check: the process
// is still on its way up.
func (a *Admin) Ready(ctx context.Context) (results map[string]string, ok bool) {
	a.mu.Lock()
	checks := make(map[string]Check, len(a.checks))
	maps.Copy(checks, a.checks)
	a.mu.Unlock()

	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	type outcome struct {
		name string
		err  error
	}
	outcomes := make(chan outcome, len(checks))
	for name, check := range checks {
		go func() { outcomes <- outcome{name, check(ctx)} }()
	}
	results, ok = make(map[string]string, len(checks)), len(checks) > 0
	for range checks {
		o := <-outcomes
		results[o.name] = "ok"
		if o.err != nil {
			results[o.name], ok = job.PublicOf(o.err, job.KindOf(o.err).String()), false
			a.log.WarnContext(ctx, "not ready", slog.String("check", o.name), slog.Any("error", o.err))
		}
	}
	return results, ok
}
