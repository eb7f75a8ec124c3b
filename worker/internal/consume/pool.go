package consume

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/platform/bus"
	"github.com/voicemill/voicemill/platform/lifecycle"
	"github.com/voicemill/voicemill/worker/internal/batch"
	"github.com/voicemill/voicemill/worker/internal/fleet"
	"github.com/voicemill/voicemill/worker/internal/lease"
	"github.com/voicemill/voicemill/worker/internal/store"
)

// Bundle is one message in hand.
type Bundle struct {
	bus.Bundle
	Claim store.Claimed // what is left of it, and who died with it

	lease *lease.Lease
	begun atomic.Bool // the database knows that this delivery began
}

// Begun notes that the database knows that the delivery of b began: whoever
// gives b back says so there first.
func (b *Bundle) Begun() { b.begun.Store(true) }

// Item is one segment in hand. Whoever has it settles its part of the lease.
type Item struct {
	Bundle  *Bundle
	Segment bus.Segment
	Lease   *lease.Part
	Since   time.Time // when it was pulled
}

// Caller carries out engine calls. It is safe for concurrent use.
type Caller interface {
	// Call speaks items, stores what came of it and settles each lease; leases
	// it leaves are given back. It calls free as soon as the engine can take
	// another call. An error of kind Unavailable or Overloaded means that the
	// database or the bucket is away, and that pulling more is no use yet.
	Call(ctx context.Context, items []*Item, free func()) error

	// Bury settles the items of one bundle whose workers died, without a call.
	Bury(ctx context.Context, items []*Item) error
}

// Claims is what the database knows of the bundles that are out; package store has it.
type Claims interface {
	Claim(ctx context.Context, claims []store.Claim) ([]store.Claimed, error)
	Return(ctx context.Context, refs []store.Ref) error
}

// Engines tells whether a pool's engines can take work; package fleet has the one.
type Engines interface {
	// Ready reports whether they can, and returns a channel that is closed when that
	// may have changed.
	Ready() (ready bool, changed <-chan struct{})
	// Room returns how many segments they should have at once.
	Room() fleet.Room
	// Ease says whether interactive work comes from now on.
	Ease(on bool)
}

// Message is one bundle as it was pulled.
type Message struct {
	Bundle bus.Bundle
	Again  bool // it was delivered before
	lease.Message
}

// Source is where the work of one pool comes from.
type Source interface {
	// Fetch returns up to limit bundles of a class as soon as there are any, or
	// none after wait. When ctx ends it gives back what it has.
	Fetch(ctx context.Context, class job.Class, limit int, wait time.Duration) ([]Message, error)
}

// Config says how much a pool takes at once.
type Config struct {
	Pool      string
	Calls     int          // engine calls at once, at most
	Adapt     bool         // as many of these as the engines say, and Eased too if it is 0
	Batch     batch.Limits // of one call
	InHand    int          // segments of one class in hand, those being stored included; one more bundle may exceed it
	BulkShare int          // every so many calls, bulk leads if any waits
	Eased     int          // calls at once that bulk fills while interactive work comes; without Adapt, 0 counts as Calls
	EaseFor   time.Duration
	Poll      time.Duration
	Backoff   Backoff
	Grace     time.Duration // for calls that run when the pool is stopped
	// Changed is told that bulk work gets more or fewer calls from now on; nil: nobody is.
	// It must not block.
	Changed func()
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
	case c.Adapt && c.Batch.Items > 1:
		return fmt.Errorf("pool %s: engines say how many segments they should have, not how many calls of %d", c.Pool, c.Batch.Items)
	case c.InHand < c.Batch.Items:
		return fmt.Errorf("pool %s: in_hand (%d) must be at least the items of a call (%d)", c.Pool, c.InHand, c.Batch.Items)
	case c.BulkShare < 2:
		return fmt.Errorf("pool %s: bulk_share is %d; it must be at least 2", c.Pool, c.BulkShare)
	case c.Eased < 0 || c.Eased > c.Calls || c.EaseFor < 0:
		return fmt.Errorf("pool %s: %d calls while interactive work comes and for %s after it; it has %d", c.Pool, c.Eased, c.EaseFor, c.Calls)
	case c.Poll <= 0 || c.Grace <= 0:
		return fmt.Errorf("pool %s: poll %s and grace %s must be positive", c.Pool, c.Poll, c.Grace)
	}
	return nil
}

// lane is one class of a pool.
type lane struct {
	class   job.Class
	ask     chan int // unbuffered, owner to puller: bring bundles of about so many segments
	granted int      // segments asked for and not brought yet; the owner's
	size    int      // segments of a bundle, as the last ones were; the puller's
	inHand  int      // segments pulled and not settled; under Pool.mu
}

// Pool moves the work of one pool of engines.
type Pool struct {
	cfg  Config
	deps Deps
	log  *slog.Logger

	lanes   [2]*lane         // interactive, bulk
	got     chan arrival     // closed when both pullers have returned
	nudge   lifecycle.Signal // something under mu has changed
	back    returns
	calls   sync.WaitGroup
	waiting []*Item // the owner's
	passed  int     // calls in a row that interactive led while bulk waited; the owner's
	ends    bool    // nothing waited behind what came last; the owner's
	spares  int     // calls that bulk leaves unused, as Changed was told; the owner's
	eases   bool    // interactive work comes, as the engines were told; the owner's

	mu      sync.Mutex
	held    map[store.Ref]*Bundle // in hand; under mu
	running map[*running]struct{} // calls that keep the engine busy; under mu
	easy    time.Time             // until then bulk leaves some calls unused; under mu
	circuit circuit               // under mu
	pace    pace                  // under mu
	most    int                   // calls at once now; under mu
	eased   int                   // and of bulk work while interactive work comes; under mu
}

// Deps are the parts that a Pool works with.
type Deps struct {
	Source  Source
	Claims  Claims
	Caller  Caller
	Engines Engines
	Keeper  *lease.Keeper
	Log     *slog.Logger
}

// New returns a Pool; run it with [Pool.Run].
func New(cfg Config, deps Deps) *Pool {
	eased := cmp.Or(cfg.Eased, cfg.Calls)
	return &Pool{
		most: cfg.Calls, eased: eased,
		cfg: cfg, deps: deps, log: deps.Log.With(slog.String("pool", cfg.Pool)),
		lanes: [2]*lane{
			{class: job.Interactive, ask: make(chan int), size: 1},
			{class: job.Bulk, ask: make(chan int), size: 1},
		},
		got: make(chan arrival), nudge: lifecycle.NewSignal(), back: newReturns(), held: map[store.Ref]*Bundle{}, running: map[*running]struct{}{},
	}
}

// Run moves work until ctx is done, then gives back what has not begun and
// waits for what has, for at most the grace. It returns when nothing is in hand.
func (p *Pool) Run(ctx context.Context) error {
	work, cancel := lifecycle.Linger(ctx, p.cfg.Grace)
	defer cancel()
	var pullers sync.WaitGroup
	for _, l := range p.lanes {
		pullers.Go(func() { p.pull(ctx, work, l) })
	}
	go func() { pullers.Wait(); close(p.got) }() // ends with the pullers, before Run does
	returned := make(chan struct{})
	go func() { defer close(returned); p.returnAll(work) }() // ends when back is closed, before Run does

	p.loop(ctx, work)

	p.giveBack()
	for a := range p.got {
		p.waiting = append(p.waiting, a.items...)
		p.giveBack()
	}
	p.calls.Wait()
	p.back.close()
	<-returned
	return nil
}

// loop is the owner of waiting and granted. It returns when ctx is done.
func (p *Pool) loop(ctx, work context.Context) {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for ctx.Err() == nil {
		ready, changed := p.deps.Engines.Ready()
		p.fit()
		timer.Reset(p.dispatch(work, time.Now(), ready))
		asks, rooms := p.room(time.Now(), ready)
		select {
		case <-ctx.Done():
		case <-changed:
		case asks[0] <- rooms[0]:
			p.lanes[0].granted = rooms[0]
		case asks[1] <- rooms[1]:
			p.lanes[1].granted = rooms[1]
		case a, ok := <-p.got:
			if ok { // else ctx is done, and the pullers were faster to see it
				a.lane.granted = 0
				p.arrive(work, a.items)
			}
		case <-p.nudge:
		case <-timer.C:
		}
	}
}

// arrive takes items that were pulled; those whose workers died too often need no engine.
func (p *Pool) arrive(work context.Context, items []*Item) {
	buried := map[*Bundle][]*Item{}
	for _, it := range items {
		p.ends = it.Bundle.Last
		if c := it.Bundle.Claim; c.Isolate() || c.Guilty() {
			buried[it.Bundle] = append(buried[it.Bundle], it)
		} else {
			p.waiting = append(p.waiting, it)
		}
	}
	for _, dead := range buried {
		p.calls.Go(func() {
			if err := p.deps.Caller.Bury(work, dead); err != nil {
				p.report(work, err)
			}
			letGo(dead)
		})
	}
}

// room returns for each lane how many segments may be asked for, and where to
// ask; a nil channel if none.
func (p *Pool) room(now time.Time, ready bool) (asks [2]chan int, rooms [2]int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if open, _ := p.circuit.open(now); open || !ready {
		return asks, rooms
	}
	for i, l := range p.lanes {
		room := min(p.cfg.InHand-l.inHand, p.wanted(now, l))
		if p.circuit.probing() { // one bundle shows whether what failed is back
			room = 1 - p.lanes[0].inHand - p.lanes[1].inHand
		}
		if room > 0 && l.granted == 0 {
			asks[i], rooms[i] = l.ask, room
		}
	}
	return asks, rooms
}

// dispatch starts every call that is due and returns when to look again. While no
// engine is ready, what waits is given back.
func (p *Pool) dispatch(work context.Context, now time.Time, ready bool) time.Duration {
	if !ready {
		p.giveBack()
		return time.Hour
	}
	if open, left := p.isOpen(now); open {
		p.giveBack()
		return left
	}
	for {
		views, state := p.views(), p.state(now)
		if p.isProbing() {
			views, state.Free, state.Spared = views[:min(1, len(views))], min(state.Free, 1-(state.Calls-state.Free)), 0
		}
		d := batch.Decide(views, now, state, p.cfg.Batch)
		if len(d.Take) == 0 {
			return p.lookAgain(now, d.Wait)
		}
		p.start(work, p.pick(d.Take))
	}
}

// lookAgain returns when to look again if nothing happens: after wait, and when
// bulk may fill all calls again.
func (p *Pool) lookAgain(now time.Time, wait time.Duration) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	if wait == 0 {
		wait = time.Hour
	}
	if ends := p.easy.Sub(now); ends > 0 {
		wait = min(wait, ends)
	}
	return wait
}

func (p *Pool) isOpen(now time.Time) (bool, time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.circuit.open(now)
}

func (p *Pool) isProbing() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.circuit.probing()
}

func (p *Pool) views() []batch.Item {
	views := make([]batch.Item, len(p.waiting))
	for i, it := range p.waiting {
		solo := it.Bundle.Solo || it.Bundle.Claim.Suspect()
		views[i] = batch.Item{Class: it.Bundle.Class, Seconds: it.Segment.PredictedSeconds, Since: it.Since, Solo: solo}
	}
	return views
}

func (p *Pool) state(now time.Time) batch.State {
	p.mu.Lock()
	st := batch.State{
		Free: p.most - len(p.running), Spared: p.spared(now), Idle: len(p.running) == 0, BulkTurn: p.passed+1 >= p.cfg.BulkShare,
		Ends: p.ends, Calls: p.most, Running: p.left(now),
	}
	eases := now.Before(p.easy)
	p.mu.Unlock()
	if p.cfg.Adapt && eases != p.eases {
		p.eases = eases
		p.deps.Engines.Ease(eases)
	}
	if st.Spared != p.spares {
		if p.spares = st.Spared; p.cfg.Changed != nil {
			p.cfg.Changed()
		}
	}
	return st
}

// pick removes the items of a call from waiting and keeps account of whose turn it was.
func (p *Pool) pick(indexes []int) []*Item {
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
			bulkWaits = bulkWaits || it.Bundle.Class != job.Interactive
		}
	}
	clear(p.waiting[len(rest):])
	p.waiting = rest
	if items[0].Bundle.Class == job.Interactive && bulkWaits {
		p.passed++
	} else {
		p.passed = 0
	}
	return items
}

// start runs one call. There are never more than items in hand.
func (p *Pool) start(work context.Context, items []*Item) {
	c := &running{begun: time.Now()}
	for _, it := range items {
		c.seconds += it.Segment.PredictedSeconds
		c.items[p.laneOf(it)]++
	}
	p.change(func() {
		p.running[c] = struct{}{}
		for other := range p.running {
			other.calls = max(other.calls, len(p.running))
		}
	})
	var took time.Duration
	calls := 0
	free := sync.OnceFunc(func() {
		took = time.Since(c.begun)
		p.change(func() {
			calls = c.calls
			delete(p.running, c)
		})
	})
	p.calls.Go(func() {
		err := p.deps.Caller.Call(work, items, free)
		free()
		p.report(work, err)
		if err == nil {
			p.change(func() { p.pace.add(len(items), c.seconds, took, calls) })
		}
		letGo(items) // nothing, for what the call has settled
	})
}

func letGo(items []*Item) {
	for _, it := range items {
		_ = it.Lease.Nak() // if the bus is away, it comes back after the ack wait
	}
}

// report opens or closes the circuit after a call or a claim. Whatever is wrong,
// asking again at once would not help.
func (p *Pool) report(ctx context.Context, err error) {
	switch {
	case err == nil:
		p.change(p.circuit.succeed)
		return
	case ctx.Err() != nil: // the stop was the reason
		return
	}
	p.change(func() { p.circuit.fail(time.Now(), p.cfg.Backoff) })
	level := slog.LevelWarn
	if !job.Retryable(err) {
		level = slog.LevelError
	}
	p.log.Log(ctx, level, "the pool pauses", slog.String("kind", job.KindOf(err).String()), slog.String("error", err.Error()))
}

// change does f under the lock and wakes the owner.
func (p *Pool) change(f func()) {
	p.mu.Lock()
	f()
	p.mu.Unlock()
	p.nudge.Raise()
}

// giveBack lets somebody else have everything that waits.
func (p *Pool) giveBack() {
	letGo(p.waiting)
	clear(p.waiting)
	p.waiting = p.waiting[:0]
}
