package consume_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/platform/bus"
	"github.com/voicemill/voicemill/worker/internal/batch"
	"github.com/voicemill/voicemill/worker/internal/consume"
	"github.com/voicemill/voicemill/worker/internal/fleet"
	"github.com/voicemill/voicemill/worker/internal/lease"
	"github.com/voicemill/voicemill/worker/internal/store"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// queue is a bus in memory, and the claims beside it, with the semantics that
// matter here: what is given back is there again, if what began with it was taken
// back before. The tests with a real bus and database are in package worker.
type queue struct {
	mu      sync.Mutex
	ready   map[job.Class][]bus.Bundle
	left    map[store.Ref]map[int]bool // segments that are not done
	begun   map[store.Ref]int          // deliveries that began and were not given back
	deaths  map[store.Ref]int
	out     int // segments pulled and not settled
	mostOut int
	acked   []int
	returns int
	pulls   int
	claimed int
	err     error         // of a fetch
	refuse  error         // of a claim
	arrived chan struct{} // closed and replaced when something is there
}

func newQueue() *queue {
	return &queue{
		ready: map[job.Class][]bus.Bundle{}, left: map[store.Ref]map[int]bool{}, begun: map[store.Ref]int{},
		deaths: map[store.Ref]int{}, arrived: make(chan struct{}),
	}
}

// put makes a bundle of one segment of each of ns ready.
func (q *queue) put(class job.Class, ns ...int) {
	for _, n := range ns {
		q.bundle(class, n)
	}
}

// bundle makes one bundle of ns ready.
func (q *queue) bundle(class job.Class, ns ...int) bus.Bundle {
	b := bus.Bundle{JobID: "job_1", Job: 1, Attempt: 1, Class: class}
	left := map[int]bool{}
	for _, n := range ns {
		b.Segments = append(b.Segments, bus.Segment{N: n, PredictedSeconds: 5})
		left[n] = true
	}
	q.mu.Lock()
	q.left[store.RefOf(b)] = left
	q.mu.Unlock()
	q.publish(b)
	return b
}

func (q *queue) publish(b bus.Bundle) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.ready[b.Class] = append(q.ready[b.Class], b)
	close(q.arrived)
	q.arrived = make(chan struct{})
}

func (q *queue) Fetch(ctx context.Context, class job.Class, limit int, wait time.Duration) ([]consume.Message, error) {
	timeout := time.After(wait)
	for {
		q.mu.Lock()
		q.pulls++
		arrived, err := q.arrived, q.err
		var got []consume.Message
		for err == nil && len(q.ready[class]) > 0 && len(got) < limit {
			b := q.ready[class][0]
			q.ready[class] = q.ready[class][1:]
			got = append(got, consume.Message{Bundle: b, Again: true, Message: &message{q: q, b: b}})
		}
		q.mu.Unlock()
		if err != nil || len(got) > 0 {
			return got, err
		}
		select {
		case <-arrived:
		case <-timeout:
			return nil, nil
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

func (q *queue) Claim(_ context.Context, claims []store.Claim) ([]store.Claimed, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.claimed++
	var found []store.Claimed
	for _, c := range claims {
		if q.refuse != nil {
			return nil, q.refuse
		}
		got := store.Claimed{Ref: c.Ref, Deaths: q.deaths[c.Ref], Died: q.begun[c.Ref]}
		for n := range q.left[c.Ref] {
			got.Mask |= 1 << ((n - 1) % 64)
		}
		if got.Mask == 0 {
			continue
		}
		q.begun[c.Ref]++
		q.out += len(q.left[c.Ref])
		q.mostOut = max(q.mostOut, q.out)
		found = append(found, got)
	}
	return found, nil
}

func (q *queue) Return(_ context.Context, refs []store.Ref) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, r := range refs {
		q.returns++
		q.begun[r]--
		q.out -= len(q.left[r])
	}
	return nil
}

// settle notes that a segment is done.
func (q *queue) settle(b bus.Bundle, n int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if ref := store.RefOf(b); q.left[ref][n] {
		delete(q.left[ref], n)
		q.out--
		q.acked = append(q.acked, n)
	}
}

// waits returns how many segments are with the bus.
func (q *queue) waits() (n int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, bundles := range q.ready {
		for _, b := range bundles {
			n += len(q.left[store.RefOf(b)])
		}
	}
	return n
}

func (q *queue) done() []int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return slices.Clone(q.acked)
}

type message struct {
	q    *queue
	b    bus.Bundle
	lost bool // the bus has forgotten it
}

func (m *message) Ack(context.Context) error { return nil }

func (m *message) Nak() error {
	if !m.lost {
		m.q.publish(m.b)
	}
	return nil
}

func (m *message) InProgress() error { return nil }

// engine is a Caller whose behaviour a test scripts.
type engine struct {
	mu    sync.Mutex
	calls [][]int
	busy  int
	most  int
	speak func(ctx context.Context, call int) error // nil: a second
	store time.Duration                             // after the engine is free again
	queue *queue
	dead  [][]int // buried

	sick    bool
	changed chan struct{}
	room    fleet.Room
	eased   []bool // what it was told
}

func (e *engine) Room() fleet.Room {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.room
}

func (e *engine) Ease(on bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.eased = append(e.eased, on)
}

// told returns what it was told.
func (e *engine) told() []bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Clone(e.eased)
}

// widen has it want so many from now on.
func (e *engine) widen(r fleet.Room) {
	e.mu.Lock()
	e.room = r
	e.mu.Unlock()
	e.fall(false) // so that somebody looks
}

// Ready says that the engines are well, unless a test says otherwise.
func (e *engine) Ready() (bool, <-chan struct{}) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.changed == nil {
		e.changed = make(chan struct{})
	}
	return !e.sick, e.changed
}

func (e *engine) fall(sick bool) {
	_, _ = e.Ready() // so that there is a channel
	e.mu.Lock()
	defer e.mu.Unlock()
	e.sick = sick
	close(e.changed)
	e.changed = make(chan struct{})
}

func (e *engine) Bury(ctx context.Context, items []*consume.Item) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	var ns []int
	for _, it := range items {
		ns = append(ns, it.Segment.N)
		e.queue.settle(it.Bundle.Bundle, it.Segment.N)
		if err := it.Lease.Ack(ctx); err != nil {
			return err
		}
	}
	e.dead = append(e.dead, ns)
	return nil
}

func (e *engine) Call(ctx context.Context, items []*consume.Item, free func()) error {
	e.mu.Lock()
	var ns []int
	for _, it := range items {
		ns = append(ns, it.Segment.N)
	}
	e.calls = append(e.calls, ns)
	call := len(e.calls)
	e.busy++
	e.most = max(e.most, e.busy)
	e.mu.Unlock()
	e.mu.Lock()
	speak := e.speak
	e.mu.Unlock()
	if speak == nil {
		speak = func(ctx context.Context, _ int) error { return sleep(ctx, time.Second) }
	}
	err := speak(ctx, call)
	e.mu.Lock()
	e.busy--
	e.mu.Unlock()
	free()
	if err != nil {
		return err
	}
	if err := sleep(ctx, e.store); err != nil {
		return err
	}
	for _, it := range items {
		e.queue.settle(it.Bundle.Bundle, it.Segment.N)
		if err := it.Lease.Ack(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (e *engine) made() [][]int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Clone(e.calls)
}

func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return &job.Error{Op: "engine", Kind: job.Unavailable, Err: context.Cause(ctx)}
	}
}

func config() consume.Config {
	return consume.Config{
		Pool: "p", Calls: 2, Batch: batch.Limits{Items: 4, Seconds: 100, Wait: 50 * time.Millisecond},
		InHand: 12, BulkShare: 5, Poll: 5 * time.Second, Grace: 20 * time.Second,
		Backoff: consume.Backoff{Min: time.Second, Max: 30 * time.Second},
	}
}

func start(t *testing.T, cfg consume.Config, q *queue, e *engine) (stop func()) {
	t.Helper()
	if err := cfg.Validate(); err != nil {
		t.Fatalf("Validate: %v", err)
	}
	log := slog.New(slog.DiscardHandler)
	keeper := lease.NewKeeper(lease.Config{Every: 5 * time.Second, Hard: time.Hour}, log)
	e.queue = q
	p := consume.New(cfg, consume.Deps{Source: q, Claims: q, Caller: e, Engines: e, Keeper: keeper, Log: log})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- p.Run(ctx) }()
	return func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
		if q.out != 0 || keeper.Held() != 0 {
			t.Errorf("%d segments and %d leases are still in hand after the stop", q.out, keeper.Held())
		}
	}
}

func numbers(from, to int) (ns []int) {
	for n := from; n <= to; n++ {
		ns = append(ns, n)
	}
	return ns
}

func TestABacklogIsWorkedOffWithinTheLimits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q, e := newQueue(), &engine{store: 300 * time.Millisecond}
		q.put(job.Bulk, numbers(1, 100)...)
		stop := start(t, config(), q, e)
		time.Sleep(20 * time.Second)
		stop()
		slices.Sort(q.acked)
		if !slices.Equal(q.acked, numbers(1, 100)) {
			t.Errorf("done: %v; want 1 to 100, each once", q.acked)
		}
		if e.most != 2 || q.mostOut > 12 {
			t.Errorf("%d calls and %d items at once; want 2 and at most 12", e.most, q.mostOut)
		}
		if len(e.calls) != 25 {
			t.Errorf("%d calls; want 25 full ones", len(e.calls))
		}
	})
}

func TestInteractiveOvertakesABulkBacklog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q, e := newQueue(), &engine{}
		q.put(job.Bulk, numbers(1, 400)...)
		stop := start(t, config(), q, e)
		time.Sleep(10*time.Second + 500*time.Millisecond)
		q.put(job.Interactive, 1000)
		time.Sleep(2 * time.Second)
		if !slices.Contains(q.done(), 1000) {
			t.Error("an interactive item waited for more than the call in progress and its own")
		}
		stop()
	})
}

func TestBulkHasItsShareOfABusyInteractiveLane(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q, e := newQueue(), &engine{}
		q.put(job.Interactive, numbers(1, 2000)...)
		q.put(job.Bulk, numbers(5001, 6000)...)
		stop := start(t, config(), q, e)
		time.Sleep(50 * time.Second)
		stop()
		bulk := 0
		for _, n := range q.acked {
			if n > 5000 {
				bulk++
			}
		}
		if share := float64(bulk) / float64(len(q.acked)); share < 0.15 || share > 0.3 {
			t.Errorf("bulk got %.2f of a busy pool; want about a fifth", share)
		}
	})
}

func TestWhatIsAwayIsLeftAloneAndTriedWithOneItem(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newQueue()
		back := time.Now().Add(5 * time.Minute)
		e := &engine{speak: func(ctx context.Context, _ int) error {
			if time.Now().Before(back) {
				return &job.Error{Op: "engine", Kind: job.Unavailable}
			}
			return sleep(ctx, time.Second)
		}}
		q.put(job.Bulk, numbers(1, 40)...)
		stop := start(t, config(), q, e)
		time.Sleep(4 * time.Minute)
		calls := e.made()
		if n := len(calls); n < 6 || n > 20 {
			t.Errorf("%d calls in four minutes of outage; want a handful", n)
		}
		for i, call := range calls[3:] { // what was in hand at first made three calls
			if len(call) != 1 {
				t.Errorf("call %d of an outage has %d items; want 1", i+3, len(call))
			}
		}
		if q.waits() != 40 {
			t.Errorf("%d items are with the bus during an outage; want all 40", q.waits())
		}
		time.Sleep(3 * time.Minute)
		stop()
		if len(q.acked) != 40 {
			t.Errorf("%d of 40 done after the outage", len(q.acked))
		}
	})
}

func TestAPoolWhoseEnginesAreSickHoldsNothingAndAsksNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newQueue()
		e := &engine{}
		q.put(job.Bulk, numbers(1, 100)...)
		stop := start(t, config(), q, e)
		time.Sleep(2500 * time.Millisecond)
		e.fall(true)
		time.Sleep(10 * time.Second) // a pull that was under way, and the calls that ran
		calls, pulls, done := len(e.made()), q.pulls, len(q.done())
		if n := q.waits(); n != 100-done {
			t.Errorf("%d segments are with the bus; want all %d that are not done", n, 100-done)
		}
		time.Sleep(10 * time.Minute)
		if len(e.made()) != calls || q.pulls != pulls {
			t.Errorf("%d calls and %d pulls in ten minutes; want none", len(e.made())-calls, q.pulls-pulls)
		}
		e.fall(false)
		time.Sleep(time.Minute)
		stop()
		if n := len(q.done()); n != 100 {
			t.Errorf("%d of 100 done after the outage", n)
		}
	})
}

func TestAStopGivesBackAtOnceAndFinishesWhatRuns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newQueue()
		e := &engine{speak: func(ctx context.Context, _ int) error { return sleep(ctx, 10*time.Second) }}
		q.put(job.Bulk, numbers(1, 40)...)
		stop := start(t, config(), q, e)
		time.Sleep(5 * time.Second)
		done := make(chan time.Duration, 1)
		begun := time.Now()
		go func() { stop(); done <- time.Since(begun) }()
		time.Sleep(time.Second)
		if n := q.waits(); n != 32 {
			t.Errorf("a second after the stop %d items are with the bus; want 32, all but two calls", n)
		}
		if took := <-done; took > 6*time.Second {
			t.Errorf("the stop took %s; want as long as the calls", took)
		}
		if len(q.acked) != 8 {
			t.Errorf("%d items done; want the 8 of the running calls", len(q.acked))
		}
	})
}

func TestAStopEndsAfterTheGrace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newQueue()
		e := &engine{speak: func(ctx context.Context, _ int) error { return sleep(ctx, time.Hour) }}
		q.put(job.Bulk, numbers(1, 8)...)
		stop := start(t, config(), q, e)
		time.Sleep(time.Second)
		begun := time.Now()
		stop()
		if took := time.Since(begun); took > 21*time.Second {
			t.Errorf("the stop took %s; want the grace of 20 s", took)
		}
		if q.waits() != 8 {
			t.Errorf("%d of 8 items were given back", q.waits())
		}
	})
}

func TestABusThatIsAwayIsAskedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q, e := newQueue(), &engine{}
		q.err = errors.New("no servers")
		stop := start(t, config(), q, e)
		time.Sleep(30 * time.Second)
		q.mu.Lock()
		q.err = nil
		q.mu.Unlock()
		q.put(job.Bulk, 1)
		time.Sleep(5 * time.Second)
		stop()
		if len(q.acked) != 1 {
			t.Error("the bus came back and nothing was pulled")
		}
	})
}

func TestBundlesAreSpokenInFullCallsAndBoundedBySegments(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q, e := newQueue(), &engine{store: 300 * time.Millisecond}
		for b := range 10 {
			q.bundle(job.Bulk, numbers(64*b+1, 64*b+10)...)
		}
		stop := start(t, config(), q, e)
		time.Sleep(20 * time.Second)
		stop()
		if len(q.acked) != 100 {
			t.Errorf("%d of 100 segments done", len(q.acked))
		}
		if len(e.calls) > 30 {
			t.Errorf("%d calls for 100 segments in calls of 4: bundles are spoken apart", len(e.calls))
		}
		if q.mostOut > 12+16 {
			t.Errorf("%d segments in hand; want 12 and a bundle at most", q.mostOut)
		}
	})
}

func TestABundleThatIsDeliveredAgainCostsWhatIsLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q, e := newQueue(), &engine{}
		b := q.bundle(job.Bulk, 1, 2, 3, 4, 5)
		for _, n := range []int{1, 3, 5} { // a worker did these and died
			delete(q.left[store.RefOf(b)], n)
		}
		stop := start(t, config(), q, e)
		time.Sleep(5 * time.Second)
		stop()
		if calls := e.made(); len(calls) != 1 || !slices.Equal(calls[0], []int{2, 4}) {
			t.Errorf("calls %v; want one of segments 2 and 4", calls)
		}
	})
}

func TestWhatIsInHandIsNotSpokenTwiceWhenWORKWasLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newQueue()
		e := &engine{speak: func(ctx context.Context, _ int) error { return sleep(ctx, 10*time.Second) }}
		b := q.bundle(job.Bulk, 1, 2, 3)
		stop := start(t, config(), q, e)
		time.Sleep(time.Second)
		q.publish(b)
		time.Sleep(20 * time.Second)
		stop()
		if len(e.made()) != 1 || q.claimed != 1 {
			t.Errorf("%d calls and %d claims; want one of each", len(e.made()), q.claimed)
		}
	})
}

func TestADatabaseThatRefusesClaimsIsAskedAFewTimes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for name, kind := range map[string]job.Kind{"a schema that does not fit": job.Internal, "an outage": job.Unavailable} {
			q, e := newQueue(), &engine{}
			q.refuse = &job.Error{Op: "claim", Kind: kind}
			q.put(job.Bulk, 1, 2, 3)
			stop := start(t, config(), q, e)
			time.Sleep(4 * time.Minute)
			q.mu.Lock()
			if q.claimed < 4 || q.claimed > 20 {
				t.Errorf("%s: %d claims in four minutes; want a handful", name, q.claimed)
			}
			q.refuse = nil
			q.mu.Unlock()
			time.Sleep(time.Minute)
			stop()
			if len(q.acked) != 3 {
				t.Errorf("%s: %d of 3 done afterwards", name, len(q.acked))
			}
		}
	})
}

func TestWhatIsGivenBackIsNoDeath(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newQueue()
		e := &engine{speak: func(_ context.Context, call int) error {
			if call < 6 {
				return &job.Error{Op: "engine", Kind: job.Overloaded}
			}
			return nil
		}}
		b := q.bundle(job.Bulk, 1, 2, 3)
		stop := start(t, config(), q, e)
		time.Sleep(10 * time.Minute)
		stop()
		if len(q.acked) != 3 || len(e.dead) != 0 || q.returns < 3 {
			t.Errorf("%d done, %v buried after %d returns; want 3 and none", len(q.acked), e.dead, q.returns)
		}
		if q.begun[store.RefOf(b)] != 1 {
			t.Errorf("%d deliveries count as begun; want the last one", q.begun[store.RefOf(b)])
		}
	})
}

func TestWhatWorkersDiedWithReachesNoEngineInCompany(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q, e := newQueue(), &engine{}
		b := q.bundle(job.Bulk, 1, 2, 3)
		q.begun[store.RefOf(b)] = 2
		q.put(job.Bulk, 65)
		stop := start(t, config(), q, e)
		time.Sleep(5 * time.Second)
		stop()
		if len(e.dead) != 1 || !slices.Equal(e.dead[0], []int{1, 2, 3}) {
			t.Errorf("buried %v; want the bundle of 1 to 3", e.dead)
		}
		if calls := e.made(); len(calls) != 1 || !slices.Equal(calls[0], []int{65}) {
			t.Errorf("calls %v; want one of 65", calls)
		}
	})
}

func TestASchedulerHearsWhatAPoolCanTake(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q, e := newQueue(), &engine{}
		e.queue = q
		log := slog.New(slog.DiscardHandler)
		cfg := config()
		cfg.InHand = 32 // there is always enough for both calls
		p := consume.New(cfg, consume.Deps{
			Source: q, Claims: q, Caller: e, Engines: e, Keeper: lease.NewKeeper(lease.Config{Every: 5 * time.Second, Hard: time.Hour}, log), Log: log,
		})
		if c := p.Capacity(); c != (consume.Capacity{Slots: 8, Batch: 4}) {
			t.Errorf("an idle pool has %+v", c)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- p.Run(ctx) }()
		q.put(job.Bulk, numbers(1, 200)...)
		time.Sleep(20*time.Second + 500*time.Millisecond)
		if c := p.Capacity(); c.Goodput < 38 || c.Goodput > 41 {
			t.Errorf("two calls of 4 × 5 s a second make %.1f s a second; want 40", c.Goodput)
		}
		e.mu.Lock()
		e.speak = func(context.Context, int) error { return &job.Error{Op: "engine", Kind: job.Unavailable} }
		e.mu.Unlock()
		time.Sleep(1100 * time.Millisecond)
		if c := p.Capacity(); c.Slots != 0 {
			t.Errorf("a pool whose engine is away has %+v", c)
		}
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
}

func TestBulkLeavesCallsUnusedWhileInteractiveWorkComes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q, e := newQueue(), &engine{}
		cfg := config()
		cfg.Calls, cfg.Batch.Items, cfg.Eased, cfg.EaseFor = 4, 1, 1, 10*time.Second
		var told atomic.Int64
		cfg.Changed = func() { told.Add(1) }
		q.put(job.Bulk, numbers(1, 200)...)
		stop := start(t, cfg, q, e)
		during := func(d time.Duration) int {
			before := len(e.made())
			time.Sleep(d)
			return len(e.made()) - before
		}
		time.Sleep(500 * time.Millisecond)
		if n := during(3 * time.Second); n != 12 || told.Load() != 0 {
			t.Errorf("%d calls in 3 s, told %d times; want 4 at a time and nothing told", n, told.Load())
		}
		q.put(job.Interactive, 1001, 1002)
		time.Sleep(2 * time.Second)
		if n := during(8 * time.Second); n != 8 || told.Load() != 1 {
			t.Errorf("%d calls in 8 s after interactive work, told %d times; want one at a time and once", n, told.Load())
		}
		time.Sleep(3 * time.Second)
		if n := during(3 * time.Second); n != 12 || told.Load() != 2 {
			t.Errorf("%d calls in 3 s, told %d times; want 4 at a time again and twice", n, told.Load())
		}
		stop()
	})
}

// Engines that find out what they are worth having at once get that, and are told when
// somebody waits.
func TestAPoolHasAsManyCallsAsItsEnginesSay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q, e := newQueue(), &engine{room: fleet.Room{All: 2, Eased: 1}}
		cfg := config()
		cfg.Calls, cfg.Batch.Items, cfg.InHand, cfg.Adapt, cfg.EaseFor = 8, 1, 32, true, 10*time.Second
		q.put(job.Bulk, numbers(1, 300)...)
		stop := start(t, cfg, q, e)
		// Calls take a second and begin when the pool was widened. A window that begins a tenth of a second later each time has
		// none that begins at its very end.
		calls := func(d time.Duration) int {
			time.Sleep(2100 * time.Millisecond)
			before := len(e.made())
			time.Sleep(d)
			return len(e.made()) - before
		}
		if n := calls(3 * time.Second); n != 6 {
			t.Errorf("%d calls in 3 s; want 2 at a time", n)
		}
		e.widen(fleet.Room{All: 6, Eased: 3})
		if n := calls(3 * time.Second); n != 18 {
			t.Errorf("%d calls in 3 s; want 6 at a time", n)
		}
		q.put(job.Interactive, 1001)
		if n := calls(3 * time.Second); n != 9 || !slices.Equal(e.told(), []bool{true}) {
			t.Errorf("%d calls in 3 s after interactive work, told %v; want 3 at a time, and that it comes", n, e.told())
		}
		time.Sleep(20 * time.Second)
		if !slices.Equal(e.told(), []bool{true, false}) {
			t.Errorf("told %v; want that it comes no more", e.told())
		}
		e.widen(fleet.Room{All: 20, Eased: 20})
		if n := calls(3 * time.Second); n != 24 {
			t.Errorf("%d calls in 3 s; want 8 at a time, which is all it may have", n)
		}
		stop()
	})
}

func TestWhatAnotherWorkerCouldBeginIsLeftWithTheBus(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q, e := newQueue(), &engine{}
		cfg := config()
		cfg.Calls, cfg.Batch.Items, cfg.InHand = 4, 1, 16
		q.put(job.Bulk, numbers(1, 100)...)
		stop := start(t, cfg, q, e)
		time.Sleep(6*time.Second + 500*time.Millisecond)
		if n := 100 - len(q.done()) - q.waits(); n < 5 || n > 4+2 {
			t.Errorf("%d segments in hand; want the 4 that are spoken and half a second's more", n)
		}
		time.Sleep(20 * time.Second)
		if n := len(q.done()); n != 100 {
			t.Errorf("%d segments in 26 s; want all, 4 a second", n)
		}
		stop()
	})
}

func TestBulkGetsItsTurnBesideInteractiveWorkWithoutEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q, e := newQueue(), &engine{}
		cfg := config()
		cfg.Calls, cfg.Batch.Items, cfg.Eased, cfg.EaseFor = 4, 1, 1, 10*time.Second
		q.put(job.Bulk, numbers(1, 50)...)
		q.put(job.Interactive, numbers(1001, 1200)...)
		stop := start(t, cfg, q, e)
		time.Sleep(20*time.Second + 500*time.Millisecond)
		stop()
		bulk := 0
		for _, call := range e.made() {
			if call[0] <= 50 {
				bulk++
			}
		}
		if bulk < 14 || bulk > 20 {
			t.Errorf("%d of %d calls are bulk; want one in five", bulk, len(e.made()))
		}
	})
}

func TestConfigValidate(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*consume.Config){
		"no name":          func(c *consume.Config) { c.Pool = "" },
		"no calls":         func(c *consume.Config) { c.Calls = 0 },
		"in hand too few":  func(c *consume.Config) { c.InHand = 3 },
		"bulk always":      func(c *consume.Config) { c.BulkShare = 1 },
		"calls of several": func(c *consume.Config) { c.Adapt = true },
		"eased above all":  func(c *consume.Config) { c.Eased = c.Calls + 1 },
		"no poll":          func(c *consume.Config) { c.Poll = 0 },
		"shrinking pauses": func(c *consume.Config) { c.Backoff.Max = time.Millisecond },
		"empty calls":      func(c *consume.Config) { c.Batch.Items = 0 },
	} {
		c := config()
		change(&c)
		if err := c.Validate(); err == nil {
			t.Errorf("%s: accepted %s", name, fmt.Sprint(c))
		}
	}
}
