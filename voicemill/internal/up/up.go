package up

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net"
	"os"
	"path/filepath"
	"runtime/debug"
	"sync"
	"time"

	"github.com/voicemill/voicemill/gateway"
	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/platform/blob"
	"github.com/voicemill/voicemill/platform/config"
	"github.com/voicemill/voicemill/platform/lifecycle"
	"github.com/voicemill/voicemill/platform/pg"
	"github.com/voicemill/voicemill/platform/telemetry"
	"github.com/voicemill/voicemill/scheduler"
	"github.com/voicemill/voicemill/voicemill/internal/firstkey"
	"github.com/voicemill/voicemill/worker"
)

const (
	firstKeyFile = "first-key"
	stopGrace    = 45 * time.Second // of one part; more than any service's own

	// The process holds a bounded amount whatever the length of a book. At 30 it is
	// 6 MB smaller and takes a fifth more CPU, at 100 it is 9 MB larger for 2 % less.
	gcPercent = 60

	// The gateway takes no job before a worker has registered its voices, which a
	// start does once its models are loaded. Longer than this is a fault that readyz
	// names.
	voicesWait = 30 * time.Second
)

// Config is what `voicemill up` can be told.
type Config struct {
	Data           string `default:"voicemill-data" help:"Folder that holds all state."`
	Admin          string `default:"127.0.0.1:7861" help:"Where health, readiness, metrics and profiles are served. Not for clients."`
	S3Listen       string `default:"127.0.0.1:7862" help:"Where the embedded S3 serves uploads and downloads."`
	PublicEndpoint string `name:"blob-public-endpoint" placeholder:"URL" help:"Base URL under which clients reach the S3 server, if not the same."`
	AdminProfiles  bool   `help:"Serve profiles (/debug/pprof) on the admin port to other machines, too; they show memory." default:"false"`
	LogLevel       string `default:"warn" enum:"debug,info,warn,error" help:"Least level that is logged."`
	LogFormat      string `default:"text" enum:"json,text" help:"Form of the log on standard error."`

	Gateway   gateway.Config   `embed:""`
	Scheduler scheduler.Config `embed:""`
	Worker    worker.Config    `embed:""`
}

// DefaultConfig returns the defaults that the tags of [Config] name.
func DefaultConfig() Config {
	return Config{
		Data: "voicemill-data", Admin: "127.0.0.1:7861", S3Listen: "127.0.0.1:7862",
		LogLevel: "warn", LogFormat: "text",
		Gateway: gateway.DefaultConfig(), Scheduler: scheduler.DefaultConfig(), Worker: worker.DefaultConfig(),
	}
}

// Validate looks at the files that the settings name.
func (c *Config) Validate() error {
	return errors.Join(c.Gateway.CheckFiles(), c.Worker.CheckFiles())
}

// Rules are what the settings must keep.
func (c *Config) Rules() []config.Rule {
	return []config.Rule{config.ByFault("`blob-public-endpoint` must be an http or https URL without a path", blob.ValidPublic(c.PublicEndpoint))}
}

// Running is what is known once everything serves.
type Running struct {
	URL     string // of the API
	Admin   string // of the admin port
	KeyFile string // where the first API key is kept, and nowhere else
	Took    time.Duration
}

// Deps are what everything tells of itself with.
type Deps struct {
	Log   *slog.Logger
	Lost  func() uint64 // how many lines Log had to leave out; may be nil
	Ready func(Running)

	Version string // of the program
}

// Run runs everything until ctx is done, then drains, and calls Ready once when
// jobs are accepted, or when clients have been served for half a minute and there
// is still no worker that speaks. A process that already uses the data directory is an
// error that names it.
func Run(ctx context.Context, cfg Config, deps Deps) error {
	began, log := time.Now(), deps.Log
	debug.SetGCPercent(gcPercent)
	cfg.Data = absolute(cfg.Data)
	if err := os.MkdirAll(cfg.Data, 0o711); err != nil { //nolint:gosec // Postgres runs as another user and must pass; every part below is private
		return fmt.Errorf("make the data directory: %w", err)
	}
	registry := telemetry.NewRegistry()
	admin, err := telemetry.NewAdmin(ctx, cfg.Admin, registry, log)
	if err != nil {
		return err
	}
	if cfg.AdminProfiles {
		admin.AllowProfiles()
	}
	b, err := startBacking(ctx, cfg, log)
	if err != nil {
		return err
	}
	pg.Observe(registry, b.db)
	b.blob.Observe(registry)
	running := Running{Admin: "http://" + admin.Addr().String(), KeyFile: filepath.Join(cfg.Data, firstKeyFile)}
	// Whoever has lost the file's key removes it and starts again.
	first := firstkey.Request{Tenant: DefaultTenant, Path: running.KeyFile, Another: true, Random: rand.Reader}
	if _, err := firstkey.Ensure(ctx, b.db, first); err != nil {
		return errors.Join(err, b.stop(context.WithoutCancel(ctx)))
	}
	say := sync.OnceFunc(func() { running.Took = time.Since(began); deps.Ready(running) })
	late := time.AfterFunc(math.MaxInt64, say)
	defer late.Stop()
	var stack lifecycle.Stack
	stack.Add("servers", b.run)
	stack.Add("admin", admin.Run)
	stack.Add("worker", func(ctx context.Context) error {
		return worker.Run(ctx, cfg.Worker, worker.Deps{Log: log, Registry: registry, Admin: admin, Bus: b.bus, DB: b.db, Blob: b.blob, Random: rand.Reader, Version: deps.Version})
	})
	stack.Add("scheduler", func(ctx context.Context) error {
		return scheduler.Run(ctx, cfg.Scheduler, scheduler.Deps{Log: log, Registry: registry, Admin: admin, Bus: b.bus, DB: b.db, Blob: b.blob, Random: rand.Reader})
	})
	stack.Add("gateway", func(ctx context.Context) error {
		return gateway.Run(ctx, cfg.Gateway, gateway.Deps{
			Log: log, LogLost: deps.Lost, Registry: registry, Admin: admin, Bus: b.bus, DB: b.db, Blob: b.blob, Random: rand.Reader,
			Ready: func(addr net.Addr) {
				running.URL = scheme(cfg.Gateway.TLS) + "://" + addr.String()
				late.Reset(voicesWait)
			},
			Voiced: say,
		})
	})
	return stack.Run(ctx, stopGrace)
}

// DefaultTenant owns what is made on one machine.
const DefaultTenant job.Tenant = "default"

func scheme(t gateway.TLS) string {
	if len(t.Cert) > 0 {
		return "https"
	}
	return "http"
}

func absolute(path string) string {
	if abs, err := filepath.Abs(path); err == nil {
		return abs
	}
	return path
}

// Screen writes what a person needs to go on: where, with which key, and the
// next command.
func Screen(w io.Writer, r Running) error {
	_, err := fmt.Fprintf(w, `voicemill is up (%d ms)

  API     %s
  admin   %s
  key     %s

Next, in another terminal:

  export VOICEMILL_URL=%s
  export VOICEMILL_KEY=$(cat %s)
  voicemill submit book.epub --wait

Ctrl-C drains and ends.
`, r.Took.Milliseconds(), r.URL, r.Admin, r.KeyFile, r.URL, r.KeyFile)
	if err != nil {
		return fmt.Errorf("print the first screen: %w", err)
	}
	return nil
}
