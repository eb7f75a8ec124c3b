package release

import (
	"context"
	"time"

	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/scheduler/internal/fair"
	"github.com/voicemill/voicemill/scheduler/internal/store"
)

// waiting is what waits to be released, as far as it is in memory: of a tenant's
// lane at most perTenant, and Config.Waiting in all. What had no room is found
// again when there is some.
type waiting struct {
	queues  map[store.QueueID]*entry
	retries map[segmentID]*entry
	joins   map[int64]*entry
	lanes   map[lane]int
	short   map[lane]bool // something of the lane had no room
	hungry  bool          // a lane that was short has room again

	queue  scan[store.QueueID]
	retry  scan[store.Retry]
	outbox scan[int64]
	newest int64 // row of the outbox
}

// lane is what one tenant has waiting in a pool and class.
type lane struct {
	pool   string
	class  job.Class
	tenant job.Tenant
}

// entry is something that waits for its turn: a queue, a segment that comes
// again, or a join.
type entry struct {
	lane
	owner store.Owner
	queue *store.Queue
	retry *store.Retry
	join  *store.Due
	turn  fair.Turn // the open one
}

// scan is how far a table was read. The first time it is read to its end at
// once, then a page now and then, for what nobody announced.
type scan[K any] struct {
	after   K
	next    time.Time
	through bool // read to its end once
}

// on notes that a page was read, the last of the table or not.
func (s *scan[K]) on(last K, full bool, pause time.Duration) {
	switch {
	case !full:
		var begin K
		s.after, s.next, s.through = begin, time.Now().Add(pause), true
	case s.through:
		s.after, s.next = last, time.Now().Add(pagePause)
	default:
		s.after = last
	}
}

func newWaiting() waiting {
	return waiting{
		queues: map[store.QueueID]*entry{}, retries: map[segmentID]*entry{}, joins: map[int64]*entry{},
		lanes: map[lane]int{}, short: map[lane]bool{},
	}
}

func (w *waiting) len() int { return len(w.queues) + len(w.retries) + len(w.joins) }

// room reports whether an entry of at may come in.
func (l *loop) room(at lane) bool {
	if l.waits.lanes[at] < perTenant && l.waits.len() < l.r.cfg.Waiting {
		return true
	}
	l.waits.short[at] = true
	return false
}

func (l *loop) add(e *entry) {
	l.waits.lanes[e.lane]++
	switch {
	case e.queue != nil:
		l.waits.queues[store.QueueID{Job: e.owner.Num, Pool: e.pool}] = e
	case e.retry != nil:
		l.waits.retries[segmentID{e.owner.Num, e.retry.N}] = e
	default:
		l.waits.joins[e.join.Row] = e
	}
	l.turns.add(e)
}

// remove takes an entry out: it is through, or it is to be read again.
func (l *loop) remove(e *entry) {
	switch {
	case e.queue != nil:
		delete(l.waits.queues, store.QueueID{Job: e.owner.Num, Pool: e.pool})
	case e.retry != nil:
		delete(l.waits.retries, segmentID{e.owner.Num, e.retry.N})
	default:
		delete(l.waits.joins, e.join.Row)
	}
	if l.waits.lanes[e.lane]--; l.waits.lanes[e.lane] == 0 {
		delete(l.waits.lanes, e.lane)
	}
	if l.waits.short[e.lane] && l.waits.lanes[e.lane] < perTenant/2 {
		delete(l.waits.short, e.lane)
		l.waits.hungry = true
	}
	l.turns.remove(e)
}

// learn reads what was announced and a page of every table of what waits: the
// queues, the segments that come again, the outbox.
func (l *loop) learn(ctx context.Context) error {
	if err := l.learnNotices(ctx); err != nil {
		return err
	}
	if err := l.learnQueues(ctx); err != nil {
		return err
	}
	if err := l.learnRetries(ctx); err != nil {
		return err
	}
	return l.learnJoins(ctx)
}

func (l *loop) learnNotices(ctx context.Context) error {
	var ids []job.ID
	var list []store.Queue
	for range page {
		select {
		case n := <-l.r.notices:
			if n.fresh == nil || !l.know(n.fresh) {
				ids = append(ids, n.id)
			} else {
				list = append(list, n.fresh.Queues...)
			}
			continue
		default:
		}
		break
	}
	if len(ids) > 0 {
		read, err := l.store.QueuesOf(ctx, ids)
		if err != nil {
			return err // the scan finds them
		}
		list = append(list, read...)
	}
	if len(list) == 0 {
		return nil
	}
	l.says.soon()
	for i := range list {
		if q := &list[i]; q.Queued && l.waits.queues[store.QueueID{Job: q.Num, Pool: q.Pool}] == nil {
			l.says.flows.came(q)
		}
	}
	l.offer(list)
	return nil
}

// know keeps what a job that was just planned is made of, unless something newer is
// known. It reports whether there is no need to read it.
func (l *loop) know(f *store.Fresh) bool {
	if len(f.Queues) == 0 {
		return true
	}
	if _, err := l.blocks.put(f.Block); err != nil {
		return false // as reading it will say
	}
	if _, ok := l.terms[f.Block.Job]; !ok {
		l.terms[f.Block.Job] = f.Terms
	}
	return true
}

// learnQueues reads pages until the end of the table the first time and while a
// lane is hungry, a page a step otherwise.
func (l *loop) learnQueues(ctx context.Context) error {
	w := &l.waits
	if time.Now().Before(w.queue.next) && !w.hungry {
		return nil
	}
	list, err := l.store.QueuesAfter(ctx, w.queue.after.Job, w.queue.after.Pool, page)
	if err != nil {
		return err
	}
	l.offer(list)
	full := len(list) == page
	if !full {
		w.hungry = false
	}
	var last store.QueueID
	if len(list) > 0 {
		last = store.QueueID{Job: list[len(list)-1].Num, Pool: list[len(list)-1].Pool}
	}
	w.queue.on(last, full, rescan)
	return nil
}

func (l *loop) offer(list []store.Queue) {
	for i := range list {
		q := &list[i]
		at := lane{q.Pool, q.Class, q.Tenant}
		if l.waits.queues[store.QueueID{Job: q.Num, Pool: q.Pool}] == nil && l.room(at) {
			l.add(&entry{lane: at, owner: q.Owner, queue: q})
		}
	}
}

func (l *loop) learnRetries(ctx context.Context) error {
	w := &l.waits
	if time.Now().Before(w.retry.next) {
		return nil
	}
	list, err := l.store.RetriesAfter(ctx, w.retry.after, page)
	if err != nil {
		return err
	}
	l.offerRetries(list)
	var last store.Retry
	if len(list) > 0 {
		last = list[len(list)-1]
	}
	w.retry.on(last, len(list) == page, rescan/4)
	return nil
}

func (l *loop) offerRetries(list []store.Retry) {
	for i := range list {
		r := &list[i]
		at := lane{r.Pool, r.Class, r.Tenant}
		// What somebody else is speaking is looked at again in the next round.
		if l.waits.retries[segmentID{r.Num, r.N}] == nil && l.speaking[r.Key] == 0 && l.room(at) {
			l.add(&entry{lane: at, owner: r.Owner, retry: r})
		}
	}
}

// learnJoins reads the outbox: its newest rows in each step, since a listener
// may wait for them, and all others page by page.
func (l *loop) learnJoins(ctx context.Context) error {
	w := &l.waits
	list, err := l.store.OutboxAfter(ctx, w.newest, page)
	if err != nil {
		return err
	}
	l.offerJoins(list)
	if len(list) > 0 {
		w.newest = list[len(list)-1].Row
	}
	if time.Now().Before(w.outbox.next) {
		return nil
	}
	if list, err = l.store.OutboxAfter(ctx, w.outbox.after, page); err != nil {
		return err
	}
	l.offerJoins(list)
	var last int64
	if len(list) > 0 {
		last = list[len(list)-1].Row
	}
	w.outbox.on(last, len(list) == page, rescan/4)
	return nil
}

func (l *loop) offerJoins(list []store.Due) {
	for i := range list {
		d := &list[i]
		if d.Out {
			if l.joins[d.Row] == nil { // a former leader let it out
				j := &joining{Due: *d, at: time.Now()}
				l.joins[d.Row] = j
				l.outNow(d.Pool(), d.Class, 1)
				l.unsentJoins = append(l.unsentJoins, j)
				l.turns.joinOut(j)
			}
			continue
		}
		at := lane{d.Pool(), d.Class, d.Tenant}
		if l.waits.joins[d.Row] == nil && l.joins[d.Row] == nil && l.room(at) {
			l.add(&entry{lane: at, owner: d.Owner, join: d})
		}
	}
}
