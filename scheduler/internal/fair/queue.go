package fair

import (
	"cmp"
	"slices"

	"github.com/voicemill/voicemill/job"
)

// account is how far a tenant has been served in a queue, and what waits there.
// It lives while something of the tenant waits or is out, or while it is ahead
// of the system time.
type account struct {
	q      *queue
	tenant job.Tenant
	weight float64
	part   float64 // its weight while it waits, else 0
	vtime  float64
	jobs   ordered[*entry]
	out    Work
	turns  int  // open ones
	parked bool // it has its part of the pool out while others wait
	idle   bool // in ahead: nothing of the tenant waits or is out
	place  int  // in active, or in ahead
}

func (a *account) waits() bool { return len(a.jobs.items) > 0 }

func (a *account) gone() bool { return !a.waits() && a.out.Segments == 0 && a.turns == 0 }

// queue is a pool and a class: start-time fair queueing over its tenants.
type queue struct {
	pool     *pool
	class    int
	system   float64 // never falls
	top      float64 // the greatest virtual time
	accounts map[job.Tenant]*account
	active   ordered[*account] // those that wait and may go
	parked   []*account        // few: each has a good part of the pool out
	ahead    ordered[*account] // those that are kept only because they are ahead
	busy     int               // accounts that are not idle
	weight   float64           // of all that wait
}

func newQueue(p *pool, class int) *queue {
	byTime := func() ordered[*account] {
		return ordered[*account]{
			less: func(a, b *account) bool {
				return cmp.Or(cmp.Compare(a.vtime, b.vtime), cmp.Compare(a.tenant, b.tenant)) < 0
			},
			place: func(a *account) *int { return &a.place },
		}
	}
	return &queue{pool: p, class: class, accounts: map[job.Tenant]*account{}, active: byTime(), ahead: byTime()}
}

func (q *queue) waiting() int { return len(q.active.items) + len(q.parked) }

// account returns the tenant's account, opened at the system time if there is
// none. The caller settles it when it has put something in.
func (q *queue) account(tenant job.Tenant, weight float64) *account {
	a := q.accounts[tenant]
	if a == nil {
		a = &account{q: q, tenant: tenant, weight: 1, vtime: q.system, idle: true, place: -1, jobs: ordered[*entry]{
			less: before, place: func(e *entry) *int { return &e.place },
		}}
		q.accounts[tenant] = a
	}
	if weight > 0 {
		a.weight = weight
	}
	if a.idle {
		q.ahead.drop(a)
		a.idle = false
		q.busy++
	}
	return a
}

// charge moves a tenant's virtual time by a cost, which may be negative.
func (q *queue) charge(a *account, cost float64) {
	a.vtime = max(0, a.vtime+cost/a.weight)
	q.top = max(q.top, a.vtime)
}

// enter puts a job in. A tenant that begins to wait starts at the system time
// or where it is, whichever is later.
func (q *queue) enter(e *entry, weight float64) {
	a := q.account(e.Tenant, weight)
	if !a.waits() {
		a.vtime = max(a.vtime, q.system)
		q.top = max(q.top, a.vtime)
	}
	e.at = a
	a.jobs.put(e)
	q.settle(a)
}

// leave takes a job out.
func (q *queue) leave(e *entry) {
	e.at.jobs.drop(e)
	q.settle(e.at)
}

// settle puts an account where it belongs after a change.
func (q *queue) settle(a *account) {
	q.weigh(a)
	switch {
	case a.idle:
		return
	case a.waits():
		q.unpark(a)
		if !a.parked {
			q.active.put(a)
		}
		return
	case a.parked:
		q.take(a)
	case a.place >= 0:
		q.active.drop(a)
	}
	if !a.gone() {
		return
	}
	q.retire(a)
	if q.busy == 0 { // nobody was kept waiting, so nobody owes
		q.system = max(q.system, q.top)
	}
	q.forget()
}

func (q *queue) weigh(a *account) {
	part := 0.0
	if a.waits() {
		part = a.weight
	}
	q.weight += part - a.part
	a.part = part
}

// full reports whether a tenant has its part out, in segments: in an engine
// long ones take a slot for longer, not more slots.
func (q *queue) full(a *account) bool {
	const margin = 1.25 // what is out follows what is due with a delay
	p := q.pool
	share := max(p.share, min(1, margin*a.weight/max(q.weight, a.weight)))
	return float64(a.out.Segments) >= max(2*p.large, share*p.may[q.class])
}

func (q *queue) retire(a *account) {
	a.idle = true
	q.ahead.put(a)
	q.busy--
}

// forget closes the accounts that the system time has passed.
func (q *queue) forget() {
	for a := q.ahead.first(); a != nil && a.vtime <= q.system; a = q.ahead.first() {
		q.ahead.drop(a)
		delete(q.accounts, a.tenant)
	}
}

// next returns the tenant whose turn it is, nil if nobody waits.
func (q *queue) next() *account {
	for {
		a := q.active.first()
		switch {
		case a == nil && len(q.parked) > 0: // all have their part, and there is room still
			return slices.MinFunc(q.parked, func(a, b *account) int {
				return cmp.Or(cmp.Compare(a.vtime, b.vtime), cmp.Compare(a.tenant, b.tenant))
			})
		case a == nil || q.waiting() == 1 || !q.full(a):
			return a
		}
		q.active.drop(a)
		a.parked = true
		q.parked = append(q.parked, a)
	}
}

// unpark lets a tenant go on that has less than its part out. What it missed
// meanwhile was its own doing, so it gets at most two bundles of it back.
func (q *queue) unpark(a *account) {
	p := q.pool
	if !a.parked || q.full(a) {
		return
	}
	q.take(a)
	a.vtime = max(a.vtime, q.system-2*p.bundle/a.weight)
	q.active.put(a)
}

func (q *queue) take(a *account) {
	a.parked = false
	q.parked = slices.DeleteFunc(q.parked, func(o *account) bool { return o == a })
}
