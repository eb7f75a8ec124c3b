package release

import (
	"math/bits"
	"time"

	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/platform/bus"
	"github.com/voicemill/voicemill/scheduler/internal/fair"
	"github.com/voicemill/voicemill/scheduler/internal/store"
)

// loop is what one term of a Releaser knows. Everything in it can be read again
// from Postgres, but for what workers report. Only the goroutine of Run touches it.
type loop struct {
	r      *Releaser
	store  *store.Leased
	turns  *turns
	terms  map[int64]store.Terms
	blocks *blocks

	waits waiting // what the turns are taken among

	out      map[store.BundleID]*bundle
	segments map[segmentID]*bundle // the same, by segment
	speaking map[[32]byte]int      // renditions that are being made
	joins    map[int64]*joining    // rows of the outbox that are out

	unsent      []*bundle  // marked, but the bus did not take them
	unsentJoins []*joining // the same

	says    estimates      // what is said of jobs
	changes []store.Change // what commands changed, and was not read anew

	known   bool     // out holds all that is out
	mark    bus.Mark // of WORK, when all that is out was published
	looked  time.Time
	swept   store.BundleID // how far the sweep is
	sweepAt time.Time      // when it goes on
	saved   time.Time      // when virtual times were saved
}

type segmentID struct {
	job int64
	n   int
}

// bundle is a bundle that is out.
type bundle struct {
	store.BundleID
	key     fair.Key
	owner   store.Owner
	pool    string
	left    uint64 // bits of the block
	noted   uint64 // of those: a note says that they are settled
	seconds [bus.BlockSegments]float32
	keys    map[int][32]byte // by bit
	solo    bool
	spared  int    // attempts that are not charged
	last    bool   // nothing waited behind it
	block   *block // what its message is made of, until it was published; nil: to be read again
}

// joining is a row of the outbox that is out.
type joining struct {
	store.Due
	key fair.Key
	at  time.Time
}

func newLoop(r *Releaser, s *store.Leased) *loop {
	l := &loop{r: r, store: s, turns: newTurns(r.cfg), says: newEstimates()}
	l.forget()
	return l
}

// forget makes the loop read everything again: a write may or may not have
// happened. Virtual times and what workers reported stay.
func (l *loop) forget() {
	for _, b := range l.out {
		l.outNow(b.pool, b.owner.Class, -bits.OnesCount64(b.left))
	}
	for _, j := range l.joins {
		l.outNow(j.Pool(), j.Class, -1)
	}
	l.turns.forget()
	l.waits = newWaiting()
	l.out, l.segments, l.speaking = map[store.BundleID]*bundle{}, map[segmentID]*bundle{}, map[[32]byte]int{}
	l.joins = map[int64]*joining{}
	l.blocks, l.terms = newBlocks(l.r.cfg.CacheBytes), map[int64]store.Terms{}
	l.unsent, l.unsentJoins, l.changes, l.known = nil, nil, nil, false
}

// hear takes in what was told since the last step.
func (l *loop) hear() {
	for {
		select {
		case c := <-l.r.capacity:
			l.turns.report(c)
		case notes := <-l.r.settled:
			for i := range notes {
				l.note(&notes[i])
			}
		default:
			return
		}
	}
}

// note makes room for a segment that a worker says is settled; what is out
// stays what Postgres says is out.
func (l *loop) note(n *bus.Settled) {
	if n.Pool == bus.PoolAssemble || n.Pool == bus.PoolEncode {
		l.looked = time.Time{} // a join is through: the next look makes room for another
		return
	}
	b := l.segments[segmentID{n.Job, n.N}]
	if b == nil || b.Attempt != n.Attempt || b.pool != n.Pool {
		return
	}
	bit := uint64(1) << ((n.N - 1) % bus.BlockSegments)
	if b.left&bit == 0 || b.noted&bit != 0 {
		return
	}
	b.noted |= bit
	l.turns.settle(b, n.Actual)
	l.says.flows.ended(b.pool, float64(b.seconds[(n.N-1)%bus.BlockSegments]))
}

// goes notes a bundle that goes out.
func (l *loop) goes(b *bundle) {
	l.out[b.BundleID] = b
	l.outNow(b.pool, b.owner.Class, bits.OnesCount64(b.left))
	for i := range bus.BlockSegments {
		if b.left>>i&1 == 1 {
			l.segments[b.segment(i)] = b
			l.speaking[b.keys[i]]++
		}
	}
}

// segment names the segment with bit i of b.
func (b *bundle) segment(i int) segmentID {
	return segmentID{b.Job, b.N - (b.N-1)%bus.BlockSegments + i}
}

// gone notes that only these bits of b are left: the others are settled.
func (l *loop) gone(b *bundle, left uint64) { l.leaves(b, left, true) }

// recalled notes that b was taken back, which costs nothing.
func (l *loop) recalled(b *bundle) { l.leaves(b, 0, false) }

func (l *loop) leaves(b *bundle, left uint64, charged bool) {
	for i := range bus.BlockSegments {
		if bit := uint64(1) << i; b.left&bit != 0 && left&bit == 0 {
			if l.segments[b.segment(i)] == b {
				delete(l.segments, b.segment(i))
			}
			if l.speaking[b.keys[i]]--; l.speaking[b.keys[i]] <= 0 {
				delete(l.speaking, b.keys[i])
			}
			switch {
			case b.noted&bit != 0:
			case charged:
				l.turns.settle(b, float64(b.seconds[i]))
				l.says.flows.ended(b.pool, float64(b.seconds[i]))
			default:
				l.turns.settle(b, 0)
			}
		}
	}
	l.outNow(b.pool, b.owner.Class, -bits.OnesCount64(b.left&^left))
	if b.left &= left; b.left == 0 {
		delete(l.out, b.BundleID)
	}
}

// observe tells metrics of segments or joins that were let out, or messages that were published again.
func (l *loop) observe(pool string, class job.Class, released, swept int) {
	l.r.deps.Observe(Event{Pool: pool, Class: class, Released: released, Swept: swept})
}

// outNow tells metrics that more, or less, of a pool and class is out.
func (l *loop) outNow(pool string, class job.Class, change int) {
	l.r.deps.Observe(Event{Pool: pool, Class: class, Out: change})
}
