package edge

import "sync"

// tasks is a group of goroutines of one kind. Its owner closes it, after which it
// takes no more. The zero value is ready. It is safe for concurrent use.
type tasks struct {
	mu     sync.Mutex
	closed bool
	group  sync.WaitGroup
}

// run starts f on a goroutine. It reports false, and does nothing, if the group
// is closed.
func (t *tasks) run(f func()) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return false
	}
	t.group.Go(f)
	return true
}

// close waits for every goroutine of the group. Whatever ends them must have
// been done before.
func (t *tasks) close() {
	t.mu.Lock()
	t.closed = true
	t.mu.Unlock()
	t.group.Wait()
}
