package release

import (
	"context"
	"log/slog"
	"math/bits"
	"slices"
	"time"

	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/platform/bus"
	"github.com/voicemill/voicemill/scheduler/internal/store"
)

// plan is what a step is going to write, and what follows from it.
type plan struct {
	store.Step
	moves   map[store.QueueID]int // index in Step.Moves
	queues  []*entry              // of the moves
	bundles []*bundle             // of the marks
	again   []*bundle             // of the retries
	joins   []*joining
	ahead   []store.BlockID // wanted soon
}

// release takes turns until there is no room, marks what goes out in one round
// trip and leaves it to publish. It reports whether there may be more.
func (l *loop) release(ctx context.Context) (bool, error) {
	if len(l.terms) > l.r.cfg.Waiting {
		clear(l.terms) // they are read again
	}
	p := &plan{moves: map[store.QueueID]int{}}
	p.Pause = laterPause.Seconds()
	full := false
	for !full {
		e, lim, ok := l.turns.next()
		if !ok {
			break
		}
		if err := l.take(ctx, p, e, lim); err != nil {
			l.forget() // what was taken out of memory is still there
			return false, err
		}
		full = len(p.bundles)+len(p.again)+len(p.Joins) >= stepBundles
	}
	if time.Since(l.saved) > saveTimes {
		p.Times = l.turns.times()
		l.saved = time.Now()
	}
	if len(p.Moves)+len(p.Retries)+len(p.Joins)+len(p.Times) == 0 {
		return l.waits.unread(), nil
	}
	done, err := l.store.Step(ctx, p.Step)
	if err != nil {
		l.forget()
		return false, err
	}
	l.settleStep(p, &done)
	if len(p.ahead) > 0 {
		_, err = l.load(ctx, p.ahead[:min(len(p.ahead), prefetch)])
	}
	return full || l.waits.unread(), err
}

// unread reports that a table is not read to its end, or is to be read again at once.
func (w *waiting) unread() bool { return w.hungry || !w.queue.through || !w.outbox.through }

// take adds what an entry may let out to the plan.
func (l *loop) take(ctx context.Context, p *plan, e *entry, lim limits) error {
	switch {
	case e.join != nil:
		j := &joining{Due: *e.join, key: l.turns.took(e, 1, e.left().Cost), at: time.Now()}
		p.Joins, p.joins = append(p.Joins, *e.join), append(p.joins, j)
		l.remove(e)
		return nil
	case e.retry != nil:
		return l.takeRetry(ctx, p, e)
	default:
		return l.takeQueue(ctx, p, e, lim)
	}
}

func (l *loop) takeRetry(ctx context.Context, p *plan, e *entry) error {
	r := e.retry
	id := store.BlockOf(r.Num, r.N)
	got, err := l.load(ctx, []store.BlockID{id})
	if err != nil {
		return err
	}
	if b := got[id]; b != nil && b.Keys[(r.N-1)%bus.BlockSegments] != r.Key { // its owner wanted it otherwise since
		l.blocks.drop(id)
		if got, err = l.load(ctx, []store.BlockID{id}); err != nil {
			return err
		}
	}
	name := store.BundleID{Job: r.Num, N: r.N, Attempt: r.Attempts + 1}
	if l.out[name] != nil || l.speaking[r.Key] > 0 || got[id] == nil { // a bundle that it stood first in may be out still
		l.turns.declined(e)
		l.remove(e) // the scan finds it again
		return nil
	}
	b := &bundle{
		BundleID: name, owner: e.owner, pool: e.pool, solo: r.Solo, spared: r.Spared, block: got[id],
		left: 1 << ((r.N - 1) % bus.BlockSegments), keys: map[int][32]byte{},
	}
	b.fill(got[id])
	p.Retries, p.again = append(p.Retries, *r), append(p.again, b)
	b.key = l.turns.took(e, 1, r.Seconds)
	l.goes(b)
	l.remove(e)
	return nil
}

// takeQueue moves the cursor of a queue over one bundle, and over what needs no
// release before it.
func (l *loop) takeQueue(ctx context.Context, p *plan, e *entry, lim limits) error {
	q := e.queue
	speaking := func(key [32]byte) bool { return l.speaking[key] > 0 }
	for blocks := range prefetch {
		id := store.BlockID{Job: q.Num, B: q.Next / bus.BlockSegments}
		got, err := l.load(ctx, []store.BlockID{id})
		if err != nil {
			return err
		}
		b := got[id]
		if b == nil { // the job is gone, or what was planned is
			l.r.deps.Log.WarnContext(ctx, "queue without its block", slog.String("job_id", string(q.ID)), slog.Int("block", id.B))
			l.turns.declined(e)
			l.remove(e)
			return nil
		}
		c := b.cut(e.pool, q.Next, lim, speaking)
		l.move(p, e, b, c)
		if len(c.segments) > 0 {
			o := p.mark(e, b, c)
			o.key = l.turns.took(e, len(c.segments), c.seconds)
			l.goes(o)
			break
		}
		if q.Next >= ends(q.Total) || blocks == prefetch-1 {
			l.turns.declined(e)
			break
		}
	}
	if q.Next >= ends(q.Total) {
		l.remove(e)
	}
	return nil
}

// ends returns the position behind the last segment of a job.
func ends(total int) int {
	return (total + bus.BlockSegments - 1) / bus.BlockSegments * bus.BlockSegments
}

// move notes that the cursor passes c; several turns of a queue in one step make one move.
func (l *loop) move(p *plan, e *entry, b *block, c piece) {
	q := e.queue
	id := store.QueueID{Job: q.Num, Pool: e.pool}
	i, ok := p.moves[id]
	if !ok {
		i = len(p.Moves)
		p.moves[id] = i
		p.Moves = append(p.Moves, store.Move{Job: q.Num, Pool: e.pool, Prev: q.Next})
		p.queues = append(p.queues, e)
		if q.Queued {
			q.Queued = false
			p.Starts = append(p.Starts, store.Start{Job: q.Num, URL: l.startURL(q.Num)})
		}
	}
	m := &p.Moves[i]
	m.Next, m.Seconds, m.Ends = c.next, m.Seconds+c.passed, c.next >= ends(q.Total)
	for _, s := range c.later {
		p.Laters = append(p.Laters, store.Later{Job: q.Num, Pool: e.pool, N: b.Segments[s].N})
	}
	q.Next, q.Seconds = c.next, q.Seconds-c.passed
	if next := c.next / bus.BlockSegments; next != b.B {
		l.blocks.drop(b.BlockID)
		if !m.Ends {
			p.ahead = append(p.ahead, store.BlockID{Job: q.Num, B: next})
		}
	}
}

func (l *loop) startURL(num int64) string {
	if c := l.terms[num].Callback; c.Wants(job.EventStarted) {
		return c.URL
	}
	return ""
}

// mark adds a bundle to the plan.
func (p *plan) mark(e *entry, b *block, c piece) *bundle {
	o := &bundle{
		BundleID: store.BundleID{Job: e.owner.Num, N: b.Segments[c.segments[0]].N, Attempt: 1},
		owner:    e.owner, pool: e.pool, left: mask(c.segments), last: e.turn.Last, keys: map[int][32]byte{}, block: b,
	}
	o.fill(b)
	p.bundles = append(p.bundles, o)
	p.Marks = append(p.Marks, store.Mark{Job: o.Job, Pool: e.pool, N: o.N, Mask: o.left, Seconds: c.seconds})
	return o
}

// settleStep compares what was planned with what came true. A queue that did not
// move was cancelled, or another moved it: it is read again.
func (l *loop) settleStep(p *plan, done *store.Stepped) {
	tell := l.r.deps.Bus.HintQuietly
	if slices.ContainsFunc(p.Starts, func(s store.Start) bool { return s.URL != "" }) {
		tell = l.r.deps.Bus.Hint // an owner is to be told
	}
	for _, v := range done.Started {
		tell(v.ID, v.Version)
	}
	for _, e := range p.queues {
		id := store.QueueID{Job: e.owner.Num, Pool: e.pool}
		if !done.Moved[id] && l.waits.queues[id] == e {
			l.remove(e)
		}
	}
	for _, b := range p.bundles {
		l.marked(b, done.Moved[store.QueueID{Job: b.Job, Pool: b.pool}])
	}
	for _, b := range p.again {
		l.marked(b, done.Again[b.BundleID])
	}
	for _, j := range p.joins {
		var went bool
		if j.Attempt, went = done.Joins[j.Row]; !went {
			l.turns.joined(j)
			continue
		}
		l.joins[j.Row] = j
		l.outNow(j.Pool(), j.Class, 1)
		l.unsentJoins = append(l.unsentJoins, j)
		l.observe(j.Pool(), j.Class, 1, 0)
	}
}

// marked leaves a bundle to publish, or takes it back if it did not go out.
func (l *loop) marked(b *bundle, went bool) {
	if !went {
		l.turns.refund(b)
		b.noted = b.left
		l.gone(b, 0)
		return
	}
	l.unsent = append(l.unsent, b)
	l.observe(b.pool, b.owner.Class, bits.OnesCount64(b.left), 0)
}
