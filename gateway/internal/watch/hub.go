package watch

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/platform/lifecycle"
)

// ErrFull is in the error of a waiter that was refused because there are too many.
var ErrFull = errors.New("watch: too many wait")

// Version is where a job is.
type Version struct {
	N       int64
	Settled bool // at least one segment is done, reused or failed
	Final   bool
}

// Reader reads the versions of jobs. A job that has none yet is left out.
type Reader interface {
	Versions(ctx context.Context, ids []job.ID) (map[job.ID]Version, error)
}

// Config bounds a Hub. Start from [DefaultConfig].
type Config struct {
	Waiters       int           // most at a time
	TenantWaiters int           // most of one tenant
	Tick          time.Duration // between two looks at deadlines
	Gap           time.Duration // between two looks at jobs that were hinted at, at least
	Sweep         time.Duration // between two looks at every job
	Chunk         int           // most jobs of one read
}

// DefaultConfig looks at what was hinted at at once, but every 3 ms at most, and at
// everything every second.
func DefaultConfig() Config {
	return Config{Waiters: 20_000, TenantWaiters: 5_000, Tick: 50 * time.Millisecond, Gap: 3 * time.Millisecond, Sweep: time.Second, Chunk: 1000}
}

// Validate reports the first setting that makes no sense.
func (c Config) Validate() error {
	switch {
	case c.Waiters < 1 || c.TenantWaiters < 1 || c.Chunk < 1:
		return fmt.Errorf("watch: waiters (%d), waiters of a tenant (%d) and chunk (%d) must be positive", c.Waiters, c.TenantWaiters, c.Chunk)
	case c.Tick <= 0 || c.Gap <= 0 || c.Sweep < c.Tick:
		return fmt.Errorf("watch: sweep (%s) must be at least tick (%s), which must be positive, as gap (%s)", c.Sweep, c.Tick, c.Gap)
	}
	return nil
}

// Waiter is one request that waits for a job.
type Waiter struct {
	Job       job.ID
	Tenant    job.Tenant
	Known     int64 // wake when the version differs
	FinalOnly bool  // wake only when the job has ended
	Settled   bool  // wake only when a segment is settled or the job has ended
	Until     time.Time
	// Wake is called once, from a goroutine of the hub, when the job has moved
	// on, the time is up or the hub stops. It must not block.
	Wake func()
}

// Hub keeps waiters. It is safe for concurrent use. Start it with Run.
type Hub struct {
	cfg    Config
	reader Reader
	log    *slog.Logger
	nudge  lifecycle.Signal // there may be hints

	mu      sync.Mutex
	waiters map[job.ID][]*Waiter // guarded by mu
	count   int                  // guarded by mu
	tenants map[job.Tenant]int   // guarded by mu: waiters of each
	dirty   map[job.ID]struct{}  // guarded by mu: waited for and hinted at
	closed  bool                 // guarded by mu
}

// New returns a hub without waiters.
func New(cfg Config, reader Reader, log *slog.Logger) (*Hub, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	return &Hub{
		cfg: cfg, reader: reader, log: log, nudge: lifecycle.NewSignal(),
		waiters: make(map[job.ID][]*Waiter), tenants: make(map[job.Tenant]int), dirty: make(map[job.ID]struct{}),
	}, nil
}

// Wait registers w. The returned function takes it away again; if that comes
// first, Wake is not called. Overloaded if there are too many waiters,
// Unavailable if the hub has stopped.
func (h *Hub) Wait(w *Waiter) (cancel func(), err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case h.closed:
		return nil, &job.Error{Op: "watch.Wait", JobID: w.Job, Kind: job.Unavailable, Public: "This server is stopping; try again."}
	case h.count >= h.cfg.Waiters || h.tenants[w.Tenant] >= h.cfg.TenantWaiters:
		return nil, &job.Error{Op: "watch.Wait", JobID: w.Job, Kind: job.Overloaded, Public: "Too many requests are waiting for jobs; ask without wait.", Err: ErrFull}
	}
	h.waiters[w.Job] = append(h.waiters[w.Job], w)
	h.count++
	h.tenants[w.Tenant]++
	h.hintLocked(w.Job) // it may have changed since the caller looked
	return func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.removeLocked(w)
	}, nil
}

// Await waits until w is woken, and returns the cause of ctx if that ends first.
// Its other errors are those of Wait. It sets w.Wake.
func (h *Hub) Await(ctx context.Context, w Waiter) error {
	woken := make(chan struct{})
	w.Wake = func() { close(woken) }
	leave, err := h.Wait(&w)
	if err != nil {
		return err
	}
	select {
	case <-woken:
		return nil
	case <-ctx.Done():
		leave()
		return context.Cause(ctx)
	}
}

// removeLocked takes w out if it is there.
func (h *Hub) removeLocked(w *Waiter) {
	list := h.waiters[w.Job]
	i := slices.Index(list, w)
	if i < 0 {
		return
	}
	if len(list) == 1 {
		delete(h.waiters, w.Job)
		delete(h.dirty, w.Job)
	} else {
		h.waiters[w.Job] = slices.Delete(list, i, i+1)
	}
	h.count--
	if h.tenants[w.Tenant]--; h.tenants[w.Tenant] == 0 {
		delete(h.tenants, w.Tenant)
	}
}

// Hint marks a job as worth a look.
func (h *Hub) Hint(id job.ID) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.waiters[id]) > 0 {
		h.hintLocked(id)
	}
}

// HintQuietly is Hint for a version that brings no sound and is not the last: who
// waits for these alone is not worth the look.
func (h *Hub) HintQuietly(id job.ID) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if slices.ContainsFunc(h.waiters[id], func(w *Waiter) bool { return !w.Settled && !w.FinalOnly }) {
		h.hintLocked(id)
	}
}

func (h *Hub) hintLocked(id job.ID) {
	h.dirty[id] = struct{}{}
	h.nudge.Raise()
}

// Waiting returns how many waiters there are.
func (h *Hub) Waiting() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.count
}

// Run wakes waiters until ctx is done, then wakes all of them and returns. Run
// is called once.
func (h *Hub) Run(ctx context.Context) error {
	var looking sync.WaitGroup
	looking.Go(func() { h.look(ctx) })
	tick := time.NewTicker(h.cfg.Tick)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			looking.Wait()
			h.Drain()
			return nil
		case now := <-tick.C:
			h.expire(now)
		}
	}
}

// look reads versions. It has its own goroutine, so that a slow database delays
// no deadline.
func (h *Hub) look(ctx context.Context) {
	sweep := time.NewTicker(h.cfg.Sweep)
	defer sweep.Stop()
	for {
		all := false
		select {
		case <-ctx.Done():
			return
		case <-sweep.C:
			all = true
		case <-h.nudge:
		}
		for chunk := range slices.Chunk(h.due(all), h.cfg.Chunk) {
			h.read(ctx, chunk)
		}
		if !lifecycle.Sleep(ctx, h.cfg.Gap) { // others gather meanwhile
			return
		}
	}
}

// due returns the jobs to look at and forgets the hints.
func (h *Hub) due(all bool) []job.ID {
	h.mu.Lock()
	defer h.mu.Unlock()
	var ids []job.ID
	if all {
		for id := range h.waiters {
			ids = append(ids, id)
		}
	} else {
		for id := range h.dirty {
			ids = append(ids, id)
		}
	}
	clear(h.dirty)
	return ids
}

func (h *Hub) read(ctx context.Context, ids []job.ID) {
	found, err := h.reader.Versions(ctx, ids)
	if err != nil { // the next sweep asks again
		h.log.DebugContext(ctx, "versions of waited-for jobs not read", slog.String("error", err.Error()))
		return
	}
	h.wakeIf(func(w *Waiter) bool {
		v, ok := found[w.Job]
		if !ok {
			return false
		}
		return v.Final || (!w.FinalOnly && v.N != w.Known && (v.Settled || !w.Settled))
	}, ids)
}

func (h *Hub) expire(now time.Time) {
	h.wakeIf(func(w *Waiter) bool { return !now.Before(w.Until) }, nil)
}

// Drain wakes everybody now and takes no more waiters: the server is stopping.
func (h *Hub) Drain() {
	h.mu.Lock()
	h.closed = true
	h.mu.Unlock()
	h.wakeIf(func(*Waiter) bool { return true }, nil)
}

// wakeIf wakes the waiters that match, of the given jobs or, with nil, of all.
func (h *Hub) wakeIf(match func(*Waiter) bool, ids []job.ID) {
	h.mu.Lock()
	var woken []*Waiter
	gather := func(list []*Waiter) {
		for _, w := range list {
			if match(w) {
				woken = append(woken, w)
			}
		}
	}
	if ids == nil {
		for _, list := range h.waiters {
			gather(list)
		}
	}
	for _, id := range ids {
		gather(h.waiters[id])
	}
	for _, w := range woken {
		h.removeLocked(w)
	}
	h.mu.Unlock()
	for _, w := range woken {
		h.call(w)
	}
}

// call wakes one. That it panics is its own affair.
func (h *Hub) call(w *Waiter) {
	defer func() {
		if p := recover(); p != nil {
			h.log.Error("wake panicked", slog.Any("panic", p), slog.String("job_id", string(w.Job)), slog.String("stack", string(debug.Stack())))
		}
	}()
	w.Wake()
}
