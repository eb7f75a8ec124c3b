package lifecycle

import (
	"context"
	"time"
)

// Sleep waits for d, or until ctx is done. It reports whether d has passed.
func Sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// Signal wakes the one goroutine that receives from it: something may be there to do.
// However often it is raised before that looks, it looks once; it looks again if it is
// raised meanwhile.
type Signal chan struct{}

// NewSignal returns a signal that is not raised.
func NewSignal() Signal { return make(Signal, 1) }

// Raise wakes the receiver, now or when it next looks. It never blocks.
func (s Signal) Raise() {
	select {
	case s <- struct{}{}:
	default:
	}
}
