package offload

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/voicemill/voicemill/job"
)

// ErrFull is in the error of who was refused because too many are there already.
var ErrFull = errors.New("offload: there is no room")

// mostResting is how many goroutines wait for their next task. A new one would have
// to let its stack grow first, which took a tenth of a submit's CPU; one that rests
// keeps some 16 KiB until the next collection of garbage, and leaves after restTime.
const mostResting = 256

const restTime = time.Second

// Pool runs tasks on goroutines of their own. It is safe for concurrent use. Run
// ends it.
type Pool struct {
	most  int
	tasks chan func() // for who rests; room for all

	mu      sync.Mutex
	running int           // guarded by mu: tasks
	resting int           // guarded by mu: goroutines for which no task was sent yet
	closed  bool          // guarded by mu
	idle    chan struct{} // guarded by mu; closed when nothing runs and nothing will
}

// NewPool returns a pool of at most most tasks at a time.
func NewPool(most int) (*Pool, error) {
	if most < 1 {
		return nil, fmt.Errorf("offload: tasks at a time are %d; they must be positive", most)
	}
	return &Pool{most: most, tasks: make(chan func(), mostResting), idle: make(chan struct{})}, nil
}

// Go runs task on another goroutine and returns at once. It refuses with
// Overloaded when as many run as may, and with Unavailable once the pool is
// stopping; then task does not run.
func (p *Pool) Go(task func()) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.closed:
		return &job.Error{Op: "offload.Go", Kind: job.Unavailable, Public: "This server is stopping; try again."}
	case p.running >= p.most:
		return refusal("offload.Go")
	}
	p.running++
	if p.resting > 0 {
		p.resting--
		p.tasks <- task
		return nil
	}
	go p.work(task)
	return nil
}

// work runs task, and more as long as the pool keeps its goroutine.
func (p *Pool) work(task func()) {
	running := true
	defer func() {
		if running { // the task ended its goroutine
			p.over(false)
		}
	}()
	rest := time.NewTimer(restTime)
	defer rest.Stop()
	for more := true; more; {
		running = true
		task()
		running = false
		if !p.over(true) {
			return
		}
		rest.Reset(restTime)
		select {
		case task, more = <-p.tasks:
		case <-rest.C:
			if p.leave() {
				return
			}
			task, more = <-p.tasks
		}
	}
}

// leave takes a goroutine off those that rest. It reports false if a task is on its
// way to each of them.
func (p *Pool) leave() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.resting == 0 {
		return false
	}
	p.resting--
	return true
}

// over takes a task off the books and reports whether its goroutine, which could
// take another, is to wait for that.
func (p *Pool) over(could bool) (rest bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.running--; p.closed && p.running == 0 {
		close(p.idle)
	}
	if rest = could && !p.closed && p.resting < mostResting; rest {
		p.resting++
	}
	return rest
}

func refusal(op string) error {
	return &job.Error{Op: op, Kind: job.Overloaded, Public: "Too many requests are waiting; try again later.", Err: ErrFull}
}

// Run waits until ctx is done, then refuses new tasks, waits for those that run and
// returns. Run is called once.
func (p *Pool) Run(ctx context.Context) error {
	<-ctx.Done()
	p.mu.Lock()
	p.closed = true
	if p.running == 0 {
		close(p.idle)
	}
	close(p.tasks)
	p.mu.Unlock()
	<-p.idle
	return nil
}
