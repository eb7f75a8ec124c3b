package testkit

import (
	"io"
	"log/slog"
	"sync"
	"testing"
)

// Log returns a logger that writes to the test's log, and nowhere once the
// test has ended: a server's last words may come later.
func Log(tb testing.TB) *slog.Logger {
	tb.Helper()
	w := &untilEnd{w: tb.Output()}
	tb.Cleanup(w.end)
	return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: slog.LevelInfo}))
}

type untilEnd struct {
	mu sync.Mutex // guards w
	w  io.Writer
}

func (u *untilEnd) Write(p []byte) (int, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.w.Write(p)
}

func (u *untilEnd) end() {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.w = io.Discard
}
