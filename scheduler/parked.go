package scheduler

import (
	"context"
	"log/slog"
	"time"
)

const parkedEvery = 30 * time.Second // between two looks at what is parked

// watchParked shows how many messages are parked until ctx is done. At first it
// puts back what this version can read, as after an upgrade.
func (s *service) watchParked(ctx context.Context) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	tried, last := false, 0
	for {
		select {
		case <-ctx.Done():
			s.metrics.parked.Set(0) // the next leader shows it
			return nil
		case <-timer.C:
			timer.Reset(parkedEvery)
		}
		if !tried {
			n, err := s.deps.Bus.Unpark(ctx)
			if tried = err == nil; n > 0 {
				s.deps.Log.InfoContext(ctx, "parked envelopes can be read now and were put back", slog.Int("envelopes", n))
			}
		}
		n, err := s.deps.Bus.Parked(ctx)
		if err != nil {
			continue // a later look shows it
		}
		s.metrics.parked.Set(float64(n))
		if n > last {
			s.deps.Log.ErrorContext(ctx, "accepted jobs are parked; see docs/nats.md", slog.Int("messages", n))
		}
		last = n
	}
}
