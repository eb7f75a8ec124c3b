package consume

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/platform/bus"
	"github.com/voicemill/voicemill/platform/lifecycle"
	"github.com/voicemill/voicemill/worker/internal/batch"
	"github.com/voicemill/voicemill/worker/internal/lease"
)

// Item is one segment in hand. Whoever has it settles its lease.
type Item struct {
	Work  bus.Work
	Lease *lease.Lease
	Since time.Time // when it was pulled
}

// Caller carries out engine calls. It is safe for concurrent use.
type Caller interface {
	// Call speaks items, stores what came of it and settles each lease; leases
	// it leaves are given back. It calls free as soon as the engine can take
	// another call. An error of kind Unavailable or Overloaded means that
	// something the pool needs is away, and that pulling more is no use yet.
	Call(ctx context.Context, items []*Item, free func()) error
}

// Message is one segment as it was pulled.
type Message struct {
	Work bus.Work
	lease.Message
}

// Source is where the work of one pool comes from.
type Source interface {
	// Fetch returns up to limit messages of a class as soon as there are any, or
	// none after wait. When ctx ends it gives back what it has.
	Fetch(ctx context.Context, class job.Class, limit int, wait time.Duration) ([]Message, error)
}

// Config says how much a pool takes at once.
type Config struct {
	Pool      string
	Calls     int          // engine calls at once
	Batch     batch.Limits // of one call
	InHand    int          // items of one class in hand, those being stored included
	BulkShare int          // every so many calls, bulk leads if any waits
	Poll      time.Duration
	Backoff   Backoff
	Grace     time.Duration // for calls that run when the pool is stopped
	// RetryAfter reads from an error of Call how long to stay away; nil: never.
	RetryAfter func(error) (time.Duration, bool)
}

// Validate reports the first setting that makes no sense.
func (c Config) Validate() error {
	if err := errors.Join(c.Batch.Validate(), c.Backoff.Validate()); err != nil {
		return fmt.Errorf("pool %s: %w", c.Pool, err)
	}
	switch {
	case c.Pool == "":
		return errors.New("a pool without a name")
	case c.Calls < 1:
		return fmt.Errorf("pool %s: %d calls at once; at least 1 is needed", c.Pool, c.Calls)
	case c.InHand < c.Batch.Items:
		return fmt.Errorf("pool %s: in_hand (%d) must be at least the items of a call (%d)", c.Pool, c.InHand, c.Batch.Items)
	case c.BulkShare < 2:
		return fmt.Errorf("pool %s: bulk_share is %d; it must be at least 2", c.Pool, c.BulkShare)
	case c.Poll <= 0 || c.Grace <= 0:
		return fmt.Errorf("pool %s: poll %s and grace %s must be positive", c.Pool, c.Poll, c.Grace)
	}
	return nil
}

// lane is one class of a pool.
type lane struct {
	class   job.Class
	ask     chan int // unbuffered, owner to puller: bring up to so many
	granted int      // asked for and not brought yet; the owner's
	inHand  int      // pulled and not settled; under Pool.mu
}

// Pool moves the work of one pool of engines.
type Pool struct {
	cfg    Config
	source Source
	caller Caller
	keeper *lease.Keeper
	log    *slog.Logger

	lanes   [2]*lane      // interactive, bulk
	got     chan arrival  // closed when both pullers have returned
	nudge   chan struct{} // capacity 1: something under mu has changed
	calls   sync.WaitGroup
	waiting []*Item // the owner's
	passed  int     // calls in a row that interactive led while bulk waited; the owner's

	mu      sync.Mutex
	running int     // calls that keep the engine busy; under mu
	circuit circuit // under mu
}

// New returns a Pool; run it with [Pool.Run].
func New(cfg Config, source Source, caller Caller, keeper *lease.Keeper, log *slog.Logger) *Pool {
	return &Pool{
		cfg: cfg, source: source, caller: caller, keeper: keeper, log: log.With(slog.String("pool", cfg.Pool)),
		lanes: [2]*lane{
			{class: job.Interactive, ask: make(chan int)},
			{class: job.Bulk, ask: make(chan int)},
		},
		got: make(chan arrival), nudge: make(chan struct{}, 1),
	}
}

// Run moves work until ctx is done, then gives back what has not begun and
// waits for what has, for at most the grace. It returns when nothing is in hand.
func (p *Pool) Run(ctx context.Context) error {
	work, cancel := lifecycle.Linger(ctx, p.cfg.Grace)
	defer cancel()
	var pullers sync.WaitGroup
	for _, l := range p.lanes {
		pullers.Go(func() { p.pull(ctx, l) })
	}
	go func() { pullers.Wait(); close(p.got) }() // ends with the pullers, before Run does

	p.loop(ctx, work)

	p.giveBack()
	for a := range p.got {
		p.waiting = append(p.waiting, a.items...)
		p.giveBack()
	}
	p.calls.Wait()
	return nil
}

// loop is the owner of waiting and granted. It returns when ctx is done.
func (p *Pool) loop(ctx, work context.Context) {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for ctx.Err() == nil {
		timer.Reset(p.dispatch(work, time.Now()))
		asks, rooms := p.room(time.Now())
		select {
		case <-ctx.Done():
		case asks[0] <- rooms[0]:
			p.lanes[0].granted = rooms[0]
		case asks[1] <- rooms[1]:
			p.lanes[1].granted = rooms[1]
		case a := <-p.got:
			a.lane.granted = 0
			p.waiting = append(p.waiting, a.items...)
		case <-p.nudge:
		case <-timer.C:
		}
	}
}

// room returns for each lane how many items may be asked for, and where to ask;
// a nil channel if none.
func (p *Pool) room(now time.Time) (asks [2]chan int, rooms [2]int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if open, _ := p.circuit.open(now); open {
		return asks, rooms
	}
	for i, l := range p.lanes {
		room := p.cfg.InHand - l.inHand
		if p.circuit.probing() { // one item of each class shows whether what failed is back
			room = 1 - p.lanes[0].inHand - p.lanes[1].inHand
		}
		if room > 0 && l.granted == 0 {
			asks[i], rooms[i] = l.ask, room
		}
	}
	return asks, rooms
}

// dispatch starts every call that is due and returns when to look again.
func (p *Pool) dispatch(work context.Context, now time.Time) time.Duration {
	if open, left := p.isOpen(now); open {
		p.giveBack()
		return left
	}
	for {
		d := batch.Decide(p.views(), now, p.state(), p.cfg.Batch)
		if len(d.Take) == 0 {
			if d.Wait > 0 {
				return d.Wait
			}
			return time.Hour
		}
		p.start(work, p.take(d.Take))
	}
}

func (p *Pool) isOpen(now time.Time) (bool, time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.circuit.open(now)
}

func (p *Pool) views() []batch.Item {
	views := make([]batch.Item, len(p.waiting))
	for i, it := range p.waiting {
		views[i] = batch.Item{Class: it.Work.Class, Seconds: it.Work.PredictedSeconds, Since: it.Since, Solo: it.Work.Solo}
	}
	return views
}

func (p *Pool) state() batch.State {
	p.mu.Lock()
	defer p.mu.Unlock()
	return batch.State{Free: p.cfg.Calls - p.running, Idle: p.running == 0, BulkTurn: p.passed+1 >= p.cfg.BulkShare}
}

// take removes the items of a call from waiting and keeps account of whose turn it was.
func (p *Pool) take(indexes []int) []*Item {
	items := make([]*Item, len(indexes))
	taken := make(map[int]bool, len(indexes))
	for i, at := range indexes {
		items[i] = p.waiting[at]
		taken[at] = true
	}
	rest := p.waiting[:0]
	bulkWaits := false
	for i, it := range p.waiting {
		if !taken[i] {
			rest = append(rest, it)
			bulkWaits = bulkWaits || it.Work.Class != job.Interactive
		}
	}
	clear(p.waiting[len(rest):])
	p.waiting = rest
	if items[0].Work.Class == job.Interactive && bulkWaits {
		p.passed++
	} else {
		p.passed = 0
	}
	return items
}

// start runs one call. There are never more than items in hand.
func (p *Pool) start(work context.Context, items []*Item) {
	p.change(func() { p.running++ })
	free := sync.OnceFunc(func() { p.change(func() { p.running-- }) })
	p.calls.Go(func() {
		err := p.caller.Call(work, items, free)
		free()
		p.report(work, err)
		for _, it := range items {
			_ = it.Lease.Nak() // nothing, if the call has settled it
		}
	})
}

// report opens or closes the circuit after a call.
func (p *Pool) report(ctx context.Context, err error) {
	switch {
	case err == nil:
		p.change(p.circuit.succeed)
	case ctx.Err() != nil: // the stop was the reason
	case job.KindOf(err) == job.Unavailable || job.KindOf(err) == job.Overloaded:
		var after time.Duration
		if p.cfg.RetryAfter != nil {
			after, _ = p.cfg.RetryAfter(err)
		}
		p.change(func() { p.circuit.fail(time.Now(), after, p.cfg.Backoff) })
		p.log.WarnContext(ctx, "the pool pauses", slog.String("kind", job.KindOf(err).String()), slog.String("error", err.Error()))
	default:
		p.log.ErrorContext(ctx, "a call went wrong", slog.String("error", err.Error()))
	}
}

// change does f under the lock and wakes the owner.
func (p *Pool) change(f func()) {
	p.mu.Lock()
	f()
	p.mu.Unlock()
	select {
	case p.nudge <- struct{}{}:
	default: // the owner will look anyway
	}
}

// giveBack lets somebody else have everything that waits.
func (p *Pool) giveBack() {
	for _, it := range p.waiting {
		_ = it.Lease.Nak() // if the bus is away, it comes back after the ack wait
	}
	clear(p.waiting)
	p.waiting = p.waiting[:0]
}
