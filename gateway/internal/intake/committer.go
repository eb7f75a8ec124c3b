package intake

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/platform/lifecycle"
)

// Publisher makes one envelope durable. PublishEnvelope returns nil only after
// the acknowledgement; an error may mean that the outcome is unknown.
type Publisher interface {
	PublishEnvelope(ctx context.Context, envelope []byte) error
}

// Config bounds a Committer. Start from [DefaultConfig].
type Config struct {
	EnvelopeJobs   int           // most jobs of one envelope
	EnvelopeBytes  int           // most bytes of one envelope; a single larger job goes alone
	QueueJobs      int           // most jobs that wait or are on their way
	QueueBytes     int           // most bytes of them
	InFlight       int           // envelopes on their way at the same time
	PublishTimeout time.Duration // for one acknowledgement
	Cooldown       time.Duration // how long jobs are refused after an envelope failed
	// Observe is told of every envelope; it may be nil and must not block.
	Observe func(Envelope)
	// Panicked is told what a callback of [Committer.Queue] panicked with; it may be nil.
	Panicked func(p any)
}

// DefaultConfig returns the published limits. One envelope in flight gathers
// best: a second one halves the group without making a disk faster.
func DefaultConfig() Config {
	return Config{
		EnvelopeJobs: 512, EnvelopeBytes: 512 << 10, QueueJobs: 8192, QueueBytes: 64 << 20,
		InFlight: 1, PublishTimeout: 5 * time.Second, Cooldown: 500 * time.Millisecond,
	}
}

// Validate reports the first setting that makes no sense.
func (c Config) Validate() error {
	switch {
	case c.EnvelopeJobs < 1 || c.EnvelopeBytes < 1 || c.InFlight < 1:
		return fmt.Errorf("intake: envelope jobs (%d), envelope bytes (%d) and in flight (%d) must be positive", c.EnvelopeJobs, c.EnvelopeBytes, c.InFlight)
	case c.QueueJobs < c.EnvelopeJobs || c.QueueBytes < c.EnvelopeBytes:
		return fmt.Errorf("intake: the queue (%d jobs, %d bytes) must hold an envelope (%d jobs, %d bytes)", c.QueueJobs, c.QueueBytes, c.EnvelopeJobs, c.EnvelopeBytes)
	case c.PublishTimeout <= 0:
		return fmt.Errorf("intake: publish timeout is %s; it must be positive", c.PublishTimeout)
	}
	return nil
}

// Envelope is what Observe learns of one envelope.
type Envelope struct {
	Jobs, Bytes int
	Waited      time.Duration // of the job that waited longest before the envelope left
	Took        time.Duration // from leaving to the acknowledgement
	Err         error
}

// ErrFull is in the error of a job that was refused because too many wait.
var ErrFull = errors.New("intake: the queue is full")

// ErrUnknown is in the tree of an outcome that nobody knows: the envelope left,
// the acknowledgement did not come.
var ErrUnknown = errors.New("intake: outcome unknown")

var errPublishTimeout = errors.New("intake: no acknowledgement in time")

// Committer gathers jobs into envelopes. It is safe for concurrent use. Start
// it with Run.
type Committer struct {
	cfg   Config
	pub   Publisher
	nudge lifecycle.Signal // there may be jobs to take

	mu      sync.Mutex
	queue   []*entry          // guarded by mu, oldest first
	pending map[job.ID]*entry // guarded by mu: queued and in flight
	jobs    int               // guarded by mu: len(pending)
	bytes   int               // guarded by mu: payload bytes of pending
	closed  bool              // guarded by mu: Run has ended or is draining
	retryAt time.Time         // guarded by mu: refuse until then
	lastErr error             // guarded by mu: why
}

type entry struct {
	id      job.ID
	payload []byte
	since   time.Time
	done    []func(error)
}

// New returns a Committer that publishes with pub.
func New(cfg Config, pub Publisher) (*Committer, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	return &Committer{cfg: cfg, pub: pub, nudge: lifecycle.NewSignal(), pending: make(map[job.ID]*entry)}, nil
}

// Submit makes one job durable, as [Committer.Queue] does, and waits until it is or
// is known not to be. If ctx ends first the outcome is not known.
func (c *Committer) Submit(ctx context.Context, id job.ID, payload []byte) error {
	outcome := make(chan error, 1) // the committer never waits
	if err := c.Queue(id, payload, func(err error) { outcome <- err }); err != nil {
		return err
	}
	select {
	case err := <-outcome:
		return err
	case <-ctx.Done():
		return errors.Join(ErrUnknown, context.Cause(ctx))
	}
}

// Queue queues one job. payload is the JSON of one accepted job as the
// envelope carries it; the Committer keeps it until done was called. done is
// called once, from another goroutine, with nil after the job is durable, and
// must not block. If Queue returns an error, done is not called. A job that is
// already on its way is not sent twice; its callers share the outcome.
func (c *Committer) Queue(id job.ID, payload []byte, done func(error)) error {
	now := time.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.refusalLocked(now, len(payload)); err != nil {
		return err
	}
	if e := c.pending[id]; e != nil {
		e.done = append(e.done, done)
		return nil
	}
	e := &entry{id: id, payload: payload, since: now, done: []func(error){done}}
	c.pending[id] = e
	c.queue = append(c.queue, e)
	c.jobs++
	c.bytes += len(payload)
	c.nudge.Raise()
	return nil
}

func (c *Committer) refusalLocked(now time.Time, size int) error {
	switch {
	case c.closed:
		return &job.Error{Op: "intake.Queue", Kind: job.Unavailable, Public: "This server is stopping; try again."}
	case now.Before(c.retryAt):
		return &job.Error{Op: "intake.Queue", Kind: job.Unavailable, Public: sayRefused, Err: c.lastErr}
	case c.jobs >= c.cfg.QueueJobs || c.bytes+size > c.cfg.QueueBytes:
		return &job.Error{Op: "intake.Queue", Kind: job.Overloaded, Public: "Too many jobs are waiting to be stored; try again later.", Err: ErrFull}
	}
	return nil
}

// Depth returns how many jobs wait or are on their way, and their bytes.
func (c *Committer) Depth() (jobs, bytes int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.jobs, c.bytes
}

// Run publishes until ctx is done. Then it refuses new jobs, sends what has
// gathered and returns; each envelope has PublishTimeout. Run is called once.
func (c *Committer) Run(ctx context.Context) error {
	var senders sync.WaitGroup
	for range c.cfg.InFlight {
		senders.Go(func() { c.send(ctx) })
	}
	senders.Wait()
	return nil
}

// send is one sender: at most one envelope of it is on its way. Its waiters are
// answered by a goroutine beside it, so that the next envelope leaves meanwhile;
// it is at most two envelopes behind.
func (c *Committer) send(ctx context.Context) {
	outcomes := make(chan outcome, 1)
	answered := make(chan struct{})
	go func() {
		defer close(answered)
		for o := range outcomes {
			o.tell(c.call)
		}
	}()
	defer func() { close(outcomes); <-answered }()
	for {
		batch := c.take()
		if len(batch) > 0 {
			outcomes <- c.publish(ctx, batch)
			continue
		}
		select {
		case <-c.nudge:
		case <-ctx.Done():
			if c.close() {
				return
			}
		}
	}
}

// close refuses new jobs from now on and reports whether nothing is queued.
func (c *Committer) close() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	return len(c.queue) == 0
}

// take removes the next envelope's jobs from the queue.
func (c *Committer) take() []*entry {
	c.mu.Lock()
	defer c.mu.Unlock()
	n, size := 0, envelopeFrame
	for n < len(c.queue) && n < c.cfg.EnvelopeJobs {
		size += len(c.queue[n].payload) + 1
		if n > 0 && size > c.cfg.EnvelopeBytes {
			break
		}
		n++
	}
	batch := c.queue[:n:n]
	c.queue = c.queue[n:]
	if len(c.queue) == 0 {
		c.queue = nil // the old array holds only entries that have left
	} else {
		c.nudge.Raise() // another sender may take the rest
	}
	return batch
}

// outcome is what became of an envelope, and of what it took down with it.
type outcome struct {
	settled []*entry
	sent    int // of settled, how many were in the envelope
	err     error
}

func (c *Committer) publish(ctx context.Context, batch []*entry) outcome {
	start := time.Now()
	work, cancel := context.WithTimeoutCause(context.WithoutCancel(ctx), c.cfg.PublishTimeout, errPublishTimeout)
	envelope := seal(batch)
	err := c.pub.PublishEnvelope(work, envelope)
	cancel()
	if c.cfg.Observe != nil {
		c.cfg.Observe(Envelope{Jobs: len(batch), Bytes: len(envelope), Waited: start.Sub(batch[0].since), Took: time.Since(start), Err: err})
	}
	return outcome{settled: c.settle(batch, err), sent: len(batch), err: err}
}

// call calls one who waits. That it panics is its own affair.
func (c *Committer) call(done func(error), err error) {
	defer func() {
		if p := recover(); p != nil && c.cfg.Panicked != nil {
			c.cfg.Panicked(p)
		}
	}()
	done(err)
}

// tell calls everybody who waits.
func (o *outcome) tell(call func(done func(error), err error)) {
	for i, e := range o.settled {
		err := o.err
		switch {
		case err == nil:
		case i >= o.sent: // never sent, so the outcome is known
			err = &job.Error{Op: "intake.publish", Kind: job.Unavailable, Public: sayRefused, Err: err}
		case job.KindOf(err) == job.Unavailable:
			err = &job.Error{Op: "intake.publish", Kind: job.Unavailable, Public: sayUnknown, Err: errors.Join(ErrUnknown, err)}
		}
		for _, done := range e.done {
			call(done, err)
		}
	}
}

// settle takes batch off the books and returns the entries to answer: batch,
// and after a failure everything that gathered behind it.
func (c *Committer) settle(batch []*entry, err error) []*entry {
	c.mu.Lock()
	defer c.mu.Unlock()
	settled := batch
	if err != nil {
		c.retryAt, c.lastErr = time.Now().Add(c.cfg.Cooldown), err
		settled = append(settled, c.queue...)
		c.queue = nil
	}
	for _, e := range settled {
		delete(c.pending, e.id)
		c.bytes -= len(e.payload)
	}
	c.jobs -= len(settled)
	return settled
}

const (
	sayRefused = "Jobs cannot be stored right now; try again later."
	sayUnknown = "It is not known whether the job was stored; send it again with the same Idempotency-Key."

	envelopeHead  = `{"jobs":[`
	envelopeTail  = `]}`
	envelopeFrame = len(envelopeHead) + len(envelopeTail)
)

// seal joins payloads into one envelope.
func seal(batch []*entry) []byte {
	size := envelopeFrame
	for _, e := range batch {
		size += len(e.payload) + 1
	}
	b := make([]byte, 0, size)
	b = append(b, envelopeHead...)
	for i, e := range batch {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, e.payload...)
	}
	return append(b, envelopeTail...)
}
