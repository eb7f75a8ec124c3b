package offload

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/voicemill/voicemill/job"
)

// ErrFull is in the error of a task that was refused because too many wait.
var ErrFull = errors.New("offload: the queue is full")

// Pool runs tasks. It is safe for concurrent use. Start it with Run.
type Pool struct {
	tasks   chan func() // Queue long: the bound that sheds
	workers int

	mu     sync.RWMutex
	closed bool // guarded by mu; no send on tasks once set
}

// New returns a pool of workers goroutines behind a queue of at most queue tasks.
func New(workers, queue int) (*Pool, error) {
	if workers < 1 || queue < 1 {
		return nil, fmt.Errorf("offload: workers (%d) and queue (%d) must be positive", workers, queue)
	}
	return &Pool{tasks: make(chan func(), queue), workers: workers}, nil
}

// Go queues task and returns at once; task runs later on another goroutine. It
// refuses with Overloaded when the queue is full and with Unavailable once the
// pool is stopping; then task does not run.
func (p *Pool) Go(task func()) error {
	p.mu.RLock()
	defer p.mu.RUnlock()
	if p.closed {
		return &job.Error{Op: "offload.Go", Kind: job.Unavailable, Public: "This server is stopping; try again."}
	}
	select {
	case p.tasks <- task:
		return nil
	default:
		return &job.Error{Op: "offload.Go", Kind: job.Overloaded, Public: "Too many requests are waiting; try again later.", Err: ErrFull}
	}
}

// Waiting returns how many tasks are queued.
func (p *Pool) Waiting() int { return len(p.tasks) }

// Run works until ctx is done, then refuses new tasks, runs those that are
// queued and returns. Run is called once.
func (p *Pool) Run(ctx context.Context) error {
	var workers sync.WaitGroup
	for range p.workers {
		workers.Go(func() {
			for task := range p.tasks {
				task()
			}
		})
	}
	<-ctx.Done()
	p.mu.Lock()
	p.closed = true
	close(p.tasks)
	p.mu.Unlock()
	workers.Wait()
	return nil
}
