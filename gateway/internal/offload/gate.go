package offload

import (
	"context"
	"fmt"
	"sync/atomic"
)

// Gate lets a number of goroutines through at a time, in the order in which they
// came; a bounded number waits. It is safe for concurrent use, and nil lets
// everybody through.
type Gate struct {
	places  chan struct{} // one for each that is through
	queue   int64
	waiting atomic.Int64
}

// NewGate returns a gate for through at a time, before which queue may wait.
func NewGate(through, queue int) (*Gate, error) {
	if through < 1 || queue < 1 {
		return nil, fmt.Errorf("offload: through a gate (%d) and before it (%d) must be positive", through, queue)
	}
	return &Gate{places: make(chan struct{}, through), queue: int64(queue)}, nil
}

// Enter waits for its turn, and then [Gate.Leave] must be called once. It refuses
// with Overloaded when too many wait, and returns the cause of ctx if that ends first.
func (g *Gate) Enter(ctx context.Context) error {
	if g == nil {
		return nil
	}
	select {
	case g.places <- struct{}{}:
		return nil
	default:
	}
	defer g.waiting.Add(-1)
	if g.waiting.Add(1) > g.queue {
		return refusal("offload.Enter")
	}
	select {
	case g.places <- struct{}{}:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Leave lets the next one through.
func (g *Gate) Leave() {
	if g != nil {
		<-g.places
	}
}

// Waiting returns how many wait.
func (g *Gate) Waiting() int { return int(g.waiting.Load()) }
