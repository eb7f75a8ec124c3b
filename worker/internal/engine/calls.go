package engine

import (
	"context"
	"sync"
)

// Calls keeps account of the calls in progress of one engine, so that Close can
// end them. Drivers embed one as a field. The zero value is open. It is safe for
// concurrent use.
type Calls struct {
	mu      sync.Mutex
	closed  bool                               // guarded by mu
	next    uint64                             // guarded by mu
	cancels map[uint64]context.CancelCauseFunc // guarded by mu
	running sync.WaitGroup                     // grows only while mu is held and closed is false
}

// Begin returns a context for one call, which also ends, with cause
// [ErrClosed], when c is closed, and a function that the caller must call at the
// end of it. ok is false if c is closed already.
func (c *Calls) Begin(ctx context.Context) (call context.Context, end func(), ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil, nil, false
	}
	if c.cancels == nil {
		c.cancels = make(map[uint64]context.CancelCauseFunc)
	}
	call, cancel := context.WithCancelCause(ctx)
	id := c.next
	c.next++
	c.cancels[id] = cancel
	c.running.Add(1)
	return call, func() {
		c.mu.Lock()
		delete(c.cancels, id)
		c.mu.Unlock()
		cancel(context.Canceled)
		c.running.Done()
	}, true
}

// Close refuses further calls, ends those in progress and waits for them. first
// is false if c was closed before.
func (c *Calls) Close() (first bool) {
	c.mu.Lock()
	first = !c.closed
	c.closed = true
	for _, cancel := range c.cancels {
		cancel(ErrClosed)
	}
	c.mu.Unlock()
	c.running.Wait()
	return first
}
