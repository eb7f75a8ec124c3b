package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/voicemill/voicemill/platform/blob"
	"github.com/voicemill/voicemill/platform/bus"
	"github.com/voicemill/voicemill/platform/config"
	"github.com/voicemill/voicemill/platform/lifecycle"
	"github.com/voicemill/voicemill/platform/pg"
	"github.com/voicemill/voicemill/platform/pg/migrate"
	"github.com/voicemill/voicemill/platform/telemetry"
	"github.com/voicemill/voicemill/scheduler"
)

func main() {
	if code, child := scheduler.ServeChild(os.Args, os.Stdin, os.Stdout); child {
		os.Exit(code)
	}
	os.Exit(run(os.Args[1:], os.Stdout, os.Stderr))
}

func run(args []string, stdout, stderr io.Writer) int {
	var cfg scheduler.Settings
	unread, err := config.Parse(&cfg, config.Source{
		Name: "scheduler", Description: "Plans jobs, lets out work and sends callbacks.", Args: args, Env: os.Environ(), Stdout: stdout,
	})
	if errors.Is(err, config.ErrDone) {
		return 0
	}
	if err == nil {
		ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
		defer stop()
		err = serve(ctx, cfg, unread, stdout)
	}
	if err != nil {
		_, _ = fmt.Fprintln(stderr, "scheduler:", err)
		return 1
	}
	return 0
}

func serve(ctx context.Context, cfg scheduler.Settings, unread []string, stdout io.Writer) error {
	log, err := telemetry.NewLogger(stdout, cfg.LogLevel, cfg.LogFormat)
	if err != nil {
		return err
	}
	config.WarnUnread(ctx, log, unread)
	db, err := pg.Connect(ctx, cfg.DB, log)
	if err != nil {
		return err
	}
	defer db.Close()
	if cfg.Migrate {
		if err := migrate.Up(ctx, db, log); err != nil {
			return err
		}
	}
	b, err := bus.Connect(ctx, cfg.Bus, log)
	if err != nil {
		return err
	}
	defer b.Close()
	if err := b.Setup(ctx); err != nil {
		return err
	}
	objects, err := blob.Open(ctx, cfg.Blob)
	if err != nil {
		return err
	}
	defer objects.Close()
	reg := telemetry.NewRegistry()
	admin, err := telemetry.NewAdmin(ctx, cfg.Admin, reg, log)
	if err != nil {
		return err
	}
	if cfg.AdminProfiles {
		admin.AllowProfiles()
	}
	var parts lifecycle.Stack
	parts.Add("admin", admin.Run)
	parts.Add("scheduler", func(ctx context.Context) error {
		return scheduler.Run(ctx, cfg.Scheduler, scheduler.Deps{
			Log: log, Registry: reg, Admin: admin, Bus: b, DB: db, Blob: objects, Random: rand.Reader,
			Ready: func() { log.InfoContext(ctx, "scheduler ready", slog.String("admin", admin.Addr().String())) },
		})
	})
	return parts.Run(ctx, 4*cfg.Scheduler.Grace) // intake and the leader's parts end one after the other
}
