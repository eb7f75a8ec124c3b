package natsd

import (
	"context"
	"fmt"
	"log/slog"
	"syscall"
	"time"
)

const (
	checkEvery = time.Second
	// A server that is ill for so many checks in a row is started again.
	patience = 3
	// Less room than this on the disk is none: a new server would freeze again.
	leastRoom = 16 << 20
)

// watch starts the server again when it cannot serve any more: after a write
// that failed, as on a full disk, JetStream freezes the stream for good. It
// waits until there is room. Clients see a connection that breaks, and what was
// acknowledged is still there. watch returns when ctx is done.
func (s *Server) watch(ctx context.Context) {
	defer close(s.watched)
	ticker := time.NewTicker(checkEvery)
	defer ticker.Stop()
	for ill := 0; ; {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		err := s.Healthy()
		if err == nil {
			ill = 0
			continue
		}
		if ill++; ill < patience || !s.roomy() {
			continue
		}
		ill = 0
		s.log.WarnContext(ctx, "nats is started again", slog.String("error", err.Error()))
		if err := s.restart(ctx); err != nil && ctx.Err() == nil {
			s.log.ErrorContext(ctx, "nats did not start again", slog.String("error", err.Error()))
		}
	}
}

// restart replaces the server. If the new one does not start, the old one is
// down all the same, which the next checks find.
func (s *Server) restart(ctx context.Context) error {
	shutdown(s.current())
	ns, err := launch(ctx, s.cfg, s.log)
	if err != nil {
		return fmt.Errorf("natsd: start again: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ns = ns
	return nil
}

// roomy reports whether the disk has room. A disk that cannot be asked counts
// as one that has: the start will tell.
func (s *Server) roomy() bool {
	var fs syscall.Statfs_t
	if err := syscall.Statfs(s.cfg.StoreDir, &fs); err != nil {
		return true
	}
	return fs.Bavail*uint64(fs.Bsize) >= leastRoom //nolint:gosec // a block size is positive
}
