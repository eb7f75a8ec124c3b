// Package process is what every service's command does around its service:
// it reads the settings, opens the log, connects to the bus, the database and
// the bucket, serves the admin port, listens to signals and ends in order.
package process

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/voicemill/voicemill/platform/blob"
	"github.com/voicemill/voicemill/platform/bus"
	"github.com/voicemill/voicemill/platform/config"
	"github.com/voicemill/voicemill/platform/lifecycle"
	"github.com/voicemill/voicemill/platform/pg"
	"github.com/voicemill/voicemill/platform/pg/migrate"
	"github.com/voicemill/voicemill/platform/telemetry"
)

// stopGrace bounds the whole stop: longer than any service's own grace.
const stopGrace = 60 * time.Second

// Settings are the flags that every service's command has.
type Settings struct {
	LogLevel      string      `default:"info" enum:"debug,info,warn,error" help:"Least level that is logged."`
	LogFormat     string      `default:"json" enum:"json,text" help:"Form of the log on standard error."`
	Admin         string      `default:"127.0.0.1:7863" help:"Where health, readiness, metrics and profiles are served. Not for clients."`
	AdminProfiles bool        `help:"Serve profiles (/debug/pprof) on the admin port to other machines, too; they show memory." default:"false"`
	Migrate       bool        `default:"true" negatable:"" help:"Bring the database to the newest schema at the start."`
	Bus           bus.Config  `embed:"" prefix:"bus-"`
	DB            pg.Config   `embed:"" prefix:"db-"`
	Blob          blob.Config `embed:"" prefix:"blob-"`
}

// Conns are the open connections that a service is handed. They are closed
// after it has returned.
type Conns struct {
	Log      *slog.Logger
	Registry *telemetry.Registry
	Admin    *telemetry.Admin // the service adds what it needs to be ready
	Bus      *bus.Bus         // set up
	DB       *pg.Pool         // migrated
	Blob     *blob.Store
}

// Service is the part of a command that differs. It blocks until ctx is done
// and it has drained.
type Service func(ctx context.Context, conns Conns) error

// Main runs a service's command and returns its exit code: 0 after a clean end,
// 1 after a failure or for settings that cannot be used. cfg is the struct that
// the flags fill; settings points into it. SIGINT and SIGTERM drain; a second
// one ends the process at once.
func Main(name, description string, cfg any, settings *Settings, run Service) int {
	unread, err := config.Parse(cfg, config.Source{
		Name: name, Description: description, Args: os.Args[1:], Env: os.Environ(), Stdout: os.Stdout,
	})
	if errors.Is(err, config.ErrDone) {
		return 0
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", name, err)
		return 1
	}
	log, err := telemetry.NewLogger(os.Stderr, settings.LogLevel, settings.LogFormat)
	if err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", name, err)
		return 1
	}
	log = log.With(slog.String("process", name))
	ctx, stop := Signals(context.Background())
	defer stop()
	config.WarnUnread(ctx, log, unread)
	if err := Run(ctx, *settings, log, run); err != nil {
		log.Error("ended with an error", slog.Any("error", err))
		return 1
	}
	return 0
}

// Signals returns a context that ends with the first SIGINT or SIGTERM. From
// then on a second one has its default effect: the process dies.
func Signals(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	return ctx, stop
}

// Run connects, runs the service until ctx is done and closes the connections
// again. The admin port is up before the service and goes down after it.
func Run(ctx context.Context, s Settings, log *slog.Logger, run Service) error {
	registry := telemetry.NewRegistry()
	admin, err := telemetry.NewAdmin(ctx, s.Admin, registry, log)
	if err != nil {
		return err
	}
	if s.AdminProfiles {
		admin.AllowProfiles()
	}
	conns := Conns{Log: log, Registry: registry, Admin: admin}
	var stack lifecycle.Stack
	stack.Add("admin", admin.Run)
	stack.Add("service", func(ctx context.Context) error {
		if err := conns.open(ctx, s); err != nil {
			return err
		}
		defer conns.close()
		return run(ctx, conns)
	})
	return stack.Run(ctx, stopGrace)
}

func (c *Conns) open(ctx context.Context, s Settings) error {
	var err error
	if c.DB, err = pg.Connect(ctx, s.DB, c.Log); err != nil {
		return err
	}
	if s.Migrate {
		if err = migrate.Up(ctx, c.DB, c.Log); err != nil {
			c.close()
			return err
		}
	}
	if c.Blob, err = blob.Open(ctx, s.Blob); err != nil {
		c.close()
		return err
	}
	pg.Observe(c.Registry, c.DB)
	c.Blob.Observe(c.Registry)
	if c.Bus, err = bus.Connect(ctx, s.Bus, c.Log); err != nil {
		c.close()
		return err
	}
	if err = c.Bus.Setup(ctx); err != nil {
		c.close()
		return err
	}
	return nil
}

func (c *Conns) close() {
	if c.Blob != nil {
		c.Blob.Close()
	}
	if c.Bus != nil {
		c.Bus.Close()
	}
	if c.DB != nil {
		c.DB.Close()
	}
}
