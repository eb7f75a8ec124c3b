package store

import (
	"context"
	"fmt"
	"time"

	"github.com/voicemill/voicemill/platform/pg"
)

// PoolState is how one pool of a worker is.
type PoolState struct {
	Pool   string
	Waits  time.Duration // for so long it has taken no work
	Reason string        // why: starting, misconfigured, overloaded or sick; empty if it works
}

// PutPools says how the pools of a worker are. To be believed it must be said every
// few seconds.
func (s *Store) PutPools(ctx context.Context, worker string, states []PoolState) error {
	pools, waits, reasons := make([]string, len(states)), make([]float64, len(states)), make([]string, len(states))
	for i, p := range states {
		pools[i], waits[i], reasons[i] = p.Pool, p.Waits.Seconds(), p.Reason
	}
	if _, err := s.pool.Exec(ctx, s.q.Get("PutPools"), worker, pools, waits, reasons); err != nil {
		return fmt.Errorf("say how pools are: %w", pg.Classify(err))
	}
	return nil
}
