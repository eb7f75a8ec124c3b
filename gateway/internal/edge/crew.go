package edge

import "sync"

// crew is a group of goroutines of one kind. Its owner closes it, after which it
// takes no more. The zero value is ready. It is safe for concurrent use.
type crew struct {
	mu     sync.Mutex
	closed bool
	group  sync.WaitGroup
}

// run starts f on a goroutine. It reports false, and does nothing, if the crew
// is closed.
func (c *crew) run(f func()) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return false
	}
	c.group.Go(f)
	return true
}

// close waits for every goroutine of the crew. Whatever ends them must have
// been done before.
func (c *crew) close() {
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	c.group.Wait()
}
