package release

import (
	"cmp"
	"math"
	"slices"
	"time"

	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/scheduler/internal/store"
)

// Lane is one queue of work: a pool and a class.
type Lane struct {
	Pool  string
	Class job.Class
}

// Room is how much more a lane may let out. Floor segments go out whatever
// their length; after them only what fits in Seconds and Segments.
type Room struct {
	Seconds  float64
	Segments int
	Floor    int
	Idle     bool // nothing of the lane is out
}

func (r *Room) fits(seconds float64) bool {
	return r.Segments > 0 && (r.Floor > 0 || seconds <= r.Seconds)
}

func (r *Room) take(seconds float64) {
	r.Seconds -= seconds
	r.Segments--
	r.Floor--
	r.Idle = false
}

// QueueConfig shapes the order of release. Every field must be positive.
type QueueConfig struct {
	BundleSeconds    float64 // predicted audio that one turn of a tenant lets out, about
	BundleSegments   int     // segments of one turn at most
	InteractiveShare float64 // of a pool, while bulk work waits; less than 1
}

// Queue decides which segments go out next. It is pure: it holds what it was
// told and asks for what it lacks. It is not safe for concurrent use.
//
// Between tenants it is start-time fair queuing by cost: the tenant of a class
// with the least virtual time goes next, and its virtual time grows by the
// predicted seconds it let out, divided by its weight. A tenant that comes
// back after a pause starts level with the least of the others, so it neither
// owes nor is owed for the time it was away. Two tenants with backlog are never
// further apart than two bundles.
type Queue struct {
	cfg      QueueConfig
	accounts map[account]*ledger
	lanes    map[Lane]*lane
	jobs     map[job.ID]*queued
	lead     map[string]float64 // by pool: what interactive work took beyond its share, in seconds
}

type account struct {
	tenant job.Tenant
	class  job.Class
}

// ledger is how far a tenant has been served in a class.
type ledger struct {
	vtime  float64
	weight float64
	queued int // (job, pool) pairs that wait; 0 means not active
}

type lane struct {
	tenants map[job.Tenant]*tenantQueue
}

type tenantQueue struct {
	ledger *ledger
	lots   []*lot // sorted by order
}

// lot is what one job has for one pool.
type lot struct {
	job    *queued
	pool   string
	buffer []store.Segment
	last   bool // nothing is pending behind the buffer
}

type queued struct {
	store.ReadyJob
	lots  []*lot
	mixed bool // its segments are of several pools
}

// NewQueue returns an empty queue.
func NewQueue(cfg QueueConfig) *Queue {
	return &Queue{cfg: cfg, accounts: map[account]*ledger{}, lanes: map[Lane]*lane{}, jobs: map[job.ID]*queued{}, lead: map[string]float64{}}
}

// Restore sets the virtual time of a tenant from a former life.
func (q *Queue) Restore(t store.VirtualTime) {
	q.ledger(account{t.Tenant, t.Class}).vtime = t.Value
}

// Has reports whether the queue knows all there is to know of a job. A job of
// several pools may get work back in one while it waits in another, so of such
// a job there may always be news.
func (q *Queue) Has(id job.ID) bool { return q.jobs[id] != nil && !q.jobs[id].mixed }

// Len returns how many jobs wait.
func (q *Queue) Len() int { return len(q.jobs) }

// Add puts a job with pending segments into the queue. Of a job that is there
// already only the pools count that were not.
func (q *Queue) Add(j store.ReadyJob) {
	e := q.jobs[j.ID]
	if e == nil && len(j.Pools) > 0 {
		e = &queued{ReadyJob: j}
		q.jobs[j.ID] = e
	}
	for _, pool := range j.Pools {
		if !slices.ContainsFunc(e.lots, func(g *lot) bool { return g.pool == pool }) {
			q.enqueue(&lot{job: e, pool: pool})
		}
	}
	if e != nil {
		e.mixed = e.mixed || len(e.lots) > 1
	}
}

func (q *Queue) enqueue(g *lot) {
	e := g.job
	l := q.ledger(account{e.Tenant, e.Class})
	l.weight = e.Weight
	if l.queued == 0 {
		l.vtime = max(l.vtime, q.least(e.Class))
	}
	l.queued++
	e.lots = append(e.lots, g)
	tq := q.tenantQueue(Lane{g.pool, e.Class}, e.Tenant, l)
	at, _ := slices.BinarySearchFunc(tq.lots, g, order)
	tq.lots = slices.Insert(tq.lots, at, g)
}

// order sorts a tenant's own jobs: priority, then deadline, then age.
func order(a, b *lot) int {
	return cmp.Or(
		cmp.Compare(b.job.Priority, a.job.Priority),
		compareDeadlines(a.job.Deadline, b.job.Deadline),
		a.job.AcceptedAt.Compare(b.job.AcceptedAt),
		cmp.Compare(a.job.ID, b.job.ID),
	)
}

func compareDeadlines(a, b *time.Time) int {
	switch {
	case a == nil && b == nil:
		return 0
	case a == nil:
		return 1
	case b == nil:
		return -1
	}
	return a.Compare(*b)
}

func (q *Queue) ledger(a account) *ledger {
	l := q.accounts[a]
	if l == nil {
		l = &ledger{weight: 1}
		q.accounts[a] = l
	}
	return l
}

// least returns the least virtual time of the active tenants of a class, 0 if none is.
func (q *Queue) least(class job.Class) float64 {
	least := math.Inf(1)
	for a, l := range q.accounts {
		if a.class == class && l.queued > 0 {
			least = min(least, l.vtime)
		}
	}
	if math.IsInf(least, 1) {
		return 0
	}
	return least
}

func (q *Queue) tenantQueue(at Lane, tenant job.Tenant, l *ledger) *tenantQueue {
	ln := q.lanes[at]
	if ln == nil {
		ln = &lane{tenants: map[job.Tenant]*tenantQueue{}}
		q.lanes[at] = ln
	}
	tq := ln.tenants[tenant]
	if tq == nil {
		tq = &tenantQueue{ledger: l}
		ln.tenants[tenant] = tq
	}
	return tq
}

// Fill gives the queue the next segments of a lot it asked for, in reading
// order. Fewer than asked for means that nothing is behind them: the lot leaves
// the queue when they are out.
func (q *Queue) Fill(l store.Lot, segments []store.Segment, asked int) {
	e := q.jobs[l.JobID]
	if e == nil {
		return
	}
	at := slices.IndexFunc(e.lots, func(g *lot) bool { return g.pool == l.Pool })
	switch {
	case at < 0:
		return
	case len(segments) == 0:
		q.drop(e.lots[at])
		return
	}
	for i := range segments {
		g := &segments[i]
		g.Tenant, g.Class, g.Speed, g.Seed, g.Pool, g.Callback = e.Tenant, e.Class, e.Speed, e.Seed, l.Pool, e.Callback
	}
	if e.Class == job.Bulk {
		// Neighbours of like length make a batch that wastes little; within
		// one buffer that does not hold a chapter back.
		slices.SortStableFunc(segments, func(a, b store.Segment) int { return cmp.Compare(b.Seconds, a.Seconds) })
	}
	e.lots[at].buffer, e.lots[at].last = segments, len(segments) < asked
}

// Remove takes a job out of the queue.
func (q *Queue) Remove(id job.ID) {
	e := q.jobs[id]
	if e == nil {
		return
	}
	for _, g := range slices.Clone(e.lots) {
		q.drop(g)
	}
}

func (q *Queue) drop(g *lot) {
	e := g.job
	e.lots = slices.DeleteFunc(e.lots, func(o *lot) bool { return o == g })
	if len(e.lots) == 0 {
		delete(q.jobs, e.ID)
	}
	at := Lane{g.pool, e.Class}
	ln := q.lanes[at]
	tq := ln.tenants[e.Tenant]
	tq.ledger.queued--
	tq.lots = slices.DeleteFunc(tq.lots, func(o *lot) bool { return o == g })
	if len(tq.lots) == 0 {
		delete(ln.tenants, e.Tenant)
	}
	if len(ln.tenants) == 0 {
		delete(q.lanes, at)
	}
}

// Settle corrects what a tenant was charged, by seconds of audio: the
// difference between the prediction and the audio, or a pick that did not go out.
func (q *Queue) Settle(tenant job.Tenant, class job.Class, seconds float64) {
	l := q.ledger(account{tenant, class})
	l.vtime = max(0, l.vtime+seconds/l.weight)
}

// Times returns the virtual times of the tenants of segments, to be stored.
func (q *Queue) Times(segments []store.Segment) []store.VirtualTime {
	seen := map[account]bool{}
	var out []store.VirtualTime
	for i := range segments {
		a := account{segments[i].Tenant, segments[i].Class}
		if !seen[a] {
			seen[a] = true
			out = append(out, store.VirtualTime{Tenant: a.tenant, Class: a.class, Value: q.ledger(a).vtime})
		}
	}
	return out
}

// Forget drops the accounts of tenants that have nothing queued, once there
// are more than keep of them. They start level with the others when they come back.
func (q *Queue) Forget(keep int) {
	if len(q.accounts) <= keep {
		return
	}
	for a, l := range q.accounts {
		if l.queued == 0 {
			delete(q.accounts, a)
		}
	}
}
