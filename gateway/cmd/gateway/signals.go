package main

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/voicemill/voicemill/gateway/internal/takeover"
	"github.com/voicemill/voicemill/platform/lifecycle"
)

// takeoverWait is for the new process to connect to everything and serve.
const takeoverWait = time.Minute

var errTakeoverWait = errors.New("it took too long")

// signals turns signals into what they ask for: SIGINT and SIGTERM drain and,
// sent again, kill; SIGHUP reloads; SIGUSR2 starts a new process on the same
// sockets and drains once that serves.
type signals struct {
	reload lifecycle.Signal
	in     chan os.Signal
	done   chan struct{}
	owner  sync.WaitGroup
}

func listenToSignals(h handover, log *slog.Logger, drain func()) *signals {
	s := &signals{reload: lifecycle.NewSignal(), in: make(chan os.Signal, 4), done: make(chan struct{})}
	signal.Notify(s.in, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGUSR2)
	s.owner.Go(func() { s.run(h, log, drain) })
	return s
}

// end stops listening.
func (s *signals) end() {
	signal.Stop(s.in)
	close(s.done)
	s.owner.Wait()
}

func (s *signals) run(h handover, log *slog.Logger, drain func()) {
	for {
		var got os.Signal
		select {
		case <-s.done:
			return
		case got = <-s.in:
		}
		switch got {
		case syscall.SIGHUP:
			s.reload.Raise()
		case syscall.SIGUSR2:
			if s.handOver(h, log) {
				signal.Reset(os.Interrupt, syscall.SIGTERM)
				drain()
				return // from now on no other process may be started, nor this one reloaded
			}
		default:
			signal.Reset(os.Interrupt, syscall.SIGTERM) // a second one kills
			drain()
			return
		}
	}
}

// handOver reports whether another process serves in place of this one.
func (s *signals) handOver(h handover, log *slog.Logger) bool {
	ctx, cancel := context.WithTimeoutCause(context.Background(), takeoverWait, errTakeoverWait)
	defer cancel()
	go func() { // ends with ctx
		select {
		case <-s.done:
			cancel()
		case <-ctx.Done():
		}
	}()
	log.InfoContext(ctx, "starting the process that takes over")
	pid, err := takeover.Start(ctx, h.program(), h.sockets()...)
	if err != nil {
		log.ErrorContext(ctx, "no other process took over, this one goes on", slog.Any("error", err))
		return false
	}
	log.InfoContext(ctx, "another process has taken over", slog.Int("pid", pid))
	return true
}
