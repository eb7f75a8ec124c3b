package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"

	"github.com/voicemill/voicemill/gateway"
	"github.com/voicemill/voicemill/gateway/internal/takeover"
	"github.com/voicemill/voicemill/platform/blob"
	"github.com/voicemill/voicemill/platform/bus"
	"github.com/voicemill/voicemill/platform/config"
	"github.com/voicemill/voicemill/platform/lifecycle"
	"github.com/voicemill/voicemill/platform/pg"
	"github.com/voicemill/voicemill/platform/telemetry"
)

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

func run(args []string, stdout, stderr io.Writer) int {
	in, err := takeover.Inherit(os.LookupEnv, clientsName, adminName)
	if err != nil {
		_, _ = fmt.Fprintln(stderr, "gateway:", err)
		return 1
	}
	defer in.Close()
	var cfg gateway.Settings
	unread, err := config.Parse(&cfg, config.Source{
		Name: "gateway", Description: "Serves the voicemill API to clients.", Args: args, Env: os.Environ(), Stdout: stdout,
	})
	if errors.Is(err, config.ErrDone) {
		return 0
	}
	if err == nil {
		err = serve(context.Background(), cfg, unread, in, stdout)
	}
	if err != nil {
		_, _ = fmt.Fprintln(stderr, "gateway:", err)
		return 1
	}
	return 0
}

func serve(ctx context.Context, cfg gateway.Settings, unread []string, in *takeover.Inherited, stdout io.Writer) error {
	lines, err := telemetry.NewLines(stdout, cfg.LogLevel, cfg.LogFormat) // event loops write to it
	if err != nil {
		return err
	}
	defer lines.Close()
	log := lines.Logger()
	config.WarnUnread(ctx, log, unread)
	doors, err := open(ctx, cfg, in)
	if err != nil {
		return err
	}
	defer doors.close()
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	telemetry.SurviveReaders()
	tickets, err := ownTickets(ctx, cfg.Gateway.TLS, in, log)
	if err != nil {
		return err
	}
	signals := listenToSignals(handover{doors, tickets}, log, stop)
	defer signals.end()

	db, err := pg.Connect(ctx, cfg.DB, log)
	if err != nil {
		return err
	}
	defer db.Close()
	if err := pg.AwaitSchema(ctx, db, log); err != nil {
		return err
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
	admin := telemetry.AdminOn(doors.admin, reg, log)
	if cfg.AdminProfiles {
		admin.AllowProfiles()
	}
	var parts lifecycle.Stack
	parts.Add("admin", admin.Run)
	parts.Add("gateway", func(ctx context.Context) error {
		return gateway.Run(ctx, cfg.Gateway, gateway.Deps{
			Log: log, LogLost: lines.Lost, Registry: reg, Admin: admin, Bus: b, DB: db, Blob: objects, Random: rand.Reader,
			Listener: doors.clients, Tickets: tickets, Reload: signals.reload,
			Ready: func(addr net.Addr) {
				spareProcessors(os.LookupEnv)
				log.InfoContext(ctx, "gateway ready", slog.String("address", addr.String()), slog.String("admin", admin.Addr().String()))
				if err := ready(in, cfg.PIDFile); err != nil {
					log.ErrorContext(ctx, "readiness not told", slog.Any("error", err))
				}
			},
		})
	})
	return parts.Run(ctx, 2*cfg.Gateway.Grace)
}
