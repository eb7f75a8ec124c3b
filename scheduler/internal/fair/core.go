package fair

import (
	"cmp"
	"slices"
	"time"

	"github.com/voicemill/voicemill/job"
)

// Core holds what waits and what is out.
type Core struct {
	cfg    Config
	pools  []*pool // by name
	byName map[string]*pool
	jobs   map[jobKey]*entry
	out    map[Key]*bundle
	open   map[uint64]*turn
	turns  uint64
	last   int // the pool that went last
}

// Turn is a bundle that may go out: up to Limit of a job's next segments, at
// least one. A caller that knows costs better stops before Limit.Cost is
// exceeded. Class is the queue, in which an urgent bulk job is interactive.
type Turn struct {
	N      uint64
	Pool   string
	Class  job.Class
	Tenant job.Tenant
	Job    job.ID
	Limit  Work
	Last   bool // nothing waits behind it in the pool
}

// Key names a bundle that is out.
type Key struct {
	Job job.ID
	N   int64
}

// Bundle is what is out of a job.
type Bundle struct {
	Key    Key
	Pool   string
	Class  job.Class // the queue that it went out of
	Tenant job.Tenant
	Weight float64
	Left   Work // what has not ended
}

type turn struct {
	at   *account
	job  *entry
	work Work
}

type bundle struct {
	at   *account
	left Work
}

// New returns a core that knows of nothing. cfg must be valid.
func New(cfg Config) *Core {
	return &Core{cfg: cfg, byName: map[string]*pool{}, jobs: map[jobKey]*entry{}, out: map[Key]*bundle{}, open: map[uint64]*turn{}}
}

func (c *Core) pool(name string) *pool {
	p := c.byName[name]
	if p == nil {
		p = newPool(name)
		c.byName[name] = p
		at, _ := slices.BinarySearchFunc(c.pools, name, func(p *pool, name string) int { return cmp.Compare(p.name, name) })
		c.pools = slices.Insert(c.pools, at, p)
	}
	return p
}

// Report takes what a worker says of itself.
func (c *Core) Report(r Capacity) {
	p := c.pool(r.Pool)
	p.report(r)
	p.measure(&c.cfg)
	if p.total.Rate < 0.8*p.keyed || p.keyed == 0 {
		c.key(p) // due times were made for a faster pool
	}
	for _, q := range p.queues {
		for _, a := range slices.Clone(q.parked) {
			q.unpark(a)
		}
	}
}

// Add puts a job in, or says anew what a job that is there has waiting. It
// reports false if there is no room for the job: it stays where it is stored,
// and the caller comes back with it when the tenant has fewer jobs here.
func (c *Core) Add(j Job) bool {
	k := jobKey{j.ID, j.Pool}
	if e := c.jobs[k]; e != nil {
		c.update(e, j)
		return true
	}
	if j.Left.Segments <= 0 {
		return true
	}
	p := c.pool(j.Pool)
	q := p.queues[classOf(j.Class)]
	if a := q.accounts[j.Tenant]; a != nil && c.full(len(a.jobs.items)) {
		return false
	}
	e := &entry{Job: j, place: -1, urgent: -1}
	c.jobs[k] = e
	q.enter(e, j.Weight)
	c.keyOne(p, e)
	return true
}

func (c *Core) full(jobs int) bool {
	return jobs >= c.cfg.JobsPerTenant || len(c.jobs) >= c.cfg.MaxJobs && jobs >= c.cfg.MinJobs
}

// update takes what is said anew of a job: what waits, and what orders it.
func (c *Core) update(e *entry, j Job) {
	q := e.at.q
	e.Left, e.Head = j.Left, j.Head
	if e.Left.Segments <= 0 {
		c.drop(e)
		return
	}
	e.Priority, e.Deadline, e.Accepted = j.Priority, j.Deadline, j.Accepted
	q.enter(e, j.Weight)
	c.keyOne(q.pool, e)
}

// Remove takes a job out of every pool. What of it is out stays counted until
// Done or Returned.
func (c *Core) Remove(id job.ID) {
	for _, p := range c.pools {
		if e := c.jobs[jobKey{id, p.name}]; e != nil {
			c.drop(e)
		}
	}
}

func (c *Core) drop(e *entry) {
	delete(c.jobs, jobKey{e.ID, e.Pool})
	e.at.q.pool.urgent.drop(e)
	e.at.q.leave(e)
}

// Next opens a turn, false if nothing may go out now. Every turn is to be
// answered with Released or Declined.
func (c *Core) Next(now time.Time) (Turn, bool) {
	for i := range c.pools {
		at := (c.last + 1 + i) % len(c.pools)
		p := c.pools[at]
		p.age(now.Add(-c.cfg.Silence))
		if t, ok := c.nextOf(p, now); ok {
			c.last = at
			return t, true
		}
	}
	return Turn{}, false
}

func (c *Core) nextOf(p *pool, now time.Time) (Turn, bool) {
	c.promote(p, now)
	first, second := p.queues[interactive], p.queues[bulk]
	if second.waiting() == 0 {
		p.lead = 0
	}
	if first.waiting() == 0 && second.waiting() == 0 {
		return Turn{}, false
	}
	p.measure(&c.cfg)
	if second.waiting() > 0 && p.lead >= p.bundle*c.cfg.InteractiveShare {
		first, second = second, first
	}
	if t, ok := c.begin(first, interactive); ok {
		return t, true
	}
	if first.class == bulk && p.out[interactive].Segments > 0 {
		return Turn{}, false // interactive work had its share; bulk work that hangs cannot hold all of it
	}
	return c.begin(second, second.class)
}

// begin opens a turn of a queue, with the room of a class.
func (c *Core) begin(q *queue, class int) (Turn, bool) {
	p := q.pool
	room := p.room(&c.cfg, class)
	if q.waiting() == 0 || room.free == 0 && room.buffer == 0 {
		return Turn{}, false
	}
	a := q.next()
	e := a.jobs.first()
	work := p.limit(&c.cfg, e, room, q.waiting() == 1 && len(a.jobs.items) == 1)
	if work.Segments == 0 {
		return Turn{}, false
	}
	q.system = max(q.system, a.vtime)
	c.turns++
	c.open[c.turns] = &turn{a, e, work}
	a.turns++
	e.turns++
	e.Left, e.Head = e.Left.less(work), Work{}
	if e.Left.Segments == 0 {
		a.jobs.drop(e)
	}
	c.count(a, work)
	p.newest = work.mean()
	q.forget()
	last := p.queues[interactive].waiting()+p.queues[bulk].waiting() == 0
	return Turn{c.turns, p.name, className(q.class), a.tenant, e.ID, work, last}, true
}

// count charges a tenant for work that goes out.
func (c *Core) count(a *account, work Work) {
	p := a.q.pool
	p.out[a.q.class] = p.out[a.q.class].plus(work)
	a.out = a.out.plus(work)
	c.lead(a.q, work.Cost)
	a.q.charge(a, work.Cost)
	a.q.settle(a)
}

// discount takes back what did not go out, or is not out any more.
func (c *Core) discount(a *account, work Work) {
	p := a.q.pool
	p.out[a.q.class] = p.out[a.q.class].less(work)
	a.out = a.out.less(work)
}

func (c *Core) lead(q *queue, cost float64) {
	p, share := q.pool, c.cfg.InteractiveShare
	if q.class == interactive {
		p.lead += cost * (1 - share)
		return
	}
	p.lead = max(-p.bundle, p.lead-cost*share)
}

// Released says that a turn's bundle goes out under key, and what it is really;
// head is the job's next bundle if the caller knows it. It reports false, and
// takes the turn as declined, if a bundle of that key is out already.
func (c *Core) Released(n uint64, key Key, out, head Work) bool {
	t := c.open[n]
	if t == nil {
		return false
	}
	if c.out[key] != nil || out.Segments <= 0 {
		c.Declined(n)
		return false
	}
	c.close(n, t)
	c.out[key] = &bundle{t.at, out}
	c.count(t.at, out)
	t.at.q.pool.newest = out.mean()
	if e := t.job; c.jobs[jobKey{e.ID, e.Pool}] == e {
		e.Left, e.Head = e.Left.plus(t.work).less(out), head
		c.requeue(e)
	}
	t.at.q.settle(t.at)
	return true
}

// Declined says that nothing of a turn went out. The job waits on as before;
// one that has nothing left is to be removed.
func (c *Core) Declined(n uint64) {
	t := c.open[n]
	if t == nil {
		return
	}
	c.close(n, t)
	if e := t.job; c.jobs[jobKey{e.ID, e.Pool}] == e {
		e.Left = e.Left.plus(t.work)
		c.requeue(e)
	}
	t.at.q.settle(t.at)
}

// close ends a turn as if it had never been.
func (c *Core) close(n uint64, t *turn) {
	delete(c.open, n)
	t.at.turns--
	t.job.turns--
	c.discount(t.at, t.work)
	c.lead(t.at.q, -t.work.Cost)
	t.at.q.charge(t.at, -t.work.Cost)
}

// requeue puts a job where it belongs after a turn.
func (c *Core) requeue(e *entry) {
	switch {
	case e.Left.Segments > 0:
		e.at.q.enter(e, 0)
		c.keyOne(e.at.q.pool, e)
	case e.turns == 0:
		c.drop(e)
	}
}

// Adopt counts a bundle that a former leader released and charged.
func (c *Core) Adopt(b Bundle) bool {
	if c.out[b.Key] != nil || b.Left.Segments <= 0 {
		return false
	}
	p := c.pool(b.Pool)
	q := p.queues[classOf(b.Class)]
	a := q.account(b.Tenant, b.Weight)
	a.out = a.out.plus(b.Left)
	p.out[q.class] = p.out[q.class].plus(b.Left)
	c.out[b.Key] = &bundle{a, b.Left}
	q.settle(a)
	return true
}

// Done says that segments of a bundle ended, well or not, and what they cost
// really: the tenant's account is trued up by the difference. A bundle that is
// not out is ignored.
func (c *Core) Done(key Key, segments int, actual float64) {
	b := c.out[key]
	if b == nil || segments <= 0 {
		return
	}
	n := min(segments, b.left.Segments)
	c.end(key, b, Work{n, b.left.mean() * float64(n)}, actual)
}

// Returned says that what is left of a bundle is not out any more and did not
// end: it was cancelled, or will be added again. It is not charged.
func (c *Core) Returned(key Key) {
	if b := c.out[key]; b != nil {
		c.end(key, b, b.left, 0)
	}
}

func (c *Core) end(key Key, b *bundle, work Work, actual float64) {
	b.left = b.left.less(work)
	if b.left.Segments == 0 {
		delete(c.out, key)
	}
	c.discount(b.at, work)
	b.at.q.charge(b.at, actual-work.Cost)
	b.at.q.settle(b.at)
}

// Len returns how many jobs wait, each counted once a pool.
func (c *Core) Len() int { return len(c.jobs) }

// Out returns what is out of a pool and class, open turns included.
func (c *Core) Out(pool string, class job.Class) Work {
	if p := c.byName[pool]; p != nil {
		return p.out[classOf(class)]
	}
	return Work{}
}

// Total returns what a pool's workers report together, as far as they were
// heard of lately.
func (c *Core) Total(pool string) Capacity {
	if p := c.byName[pool]; p != nil {
		return p.total
	}
	return Capacity{}
}
