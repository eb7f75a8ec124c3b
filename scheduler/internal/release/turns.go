package release

import (
	"cmp"
	"container/heap"
	"context"
	"slices"
	"time"

	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/platform/bus"
	"github.com/voicemill/voicemill/scheduler/internal/store"
)

const (
	reportFor        = 5 * time.Second // a worker that is silent for so long is gone
	bufferSeconds    = 1.0             // of a pool's work that waits for its engines
	interactiveShare = 0.8             // of a pool, while bulk work waits
	leadCap          = 10.0            // seconds of audio that a class may be ahead of its share
	joinCost         = 0.05            // of the audio that a join handles
)

// turns decides whose turn it is. It is pure: what it knows it was told.
//
// In each pool and class it is start-time fair queuing by cost: the tenant with
// the least virtual time goes next, and its virtual time grows by the predicted
// seconds that it let out, divided by its weight. The pool's system time is that
// of the tenant served last; it never goes back, and a tenant that comes after a
// pause starts there, so it neither owes nor is owed for the time it was away.
// Between the classes interactive work goes first, up to a share while bulk work
// waits. Within a tenant deadlines go first, then priority, then age.
type turns struct {
	cfg   Config
	now   func() time.Time
	pools map[string]*pool
	names []string // of pools, in the order in which they are asked
	at    int
}

type pool struct {
	name    string
	classes map[job.Class]*class
	workers map[string]heard
	lead    float64 // seconds that interactive work is ahead of its share
	seconds float64 // out
	count   int     // segments out
}

type heard struct {
	bus.Capacity
	at time.Time
}

// class is the order of the tenants of one class in one pool.
type class struct {
	system  float64
	tenants map[job.Tenant]*tenant
	active  tenantHeap
	dirty   bool // system is to be saved
}

type tenant struct {
	name    job.Tenant
	virtual float64
	weight  float64
	entries entryHeap
	at      int // in active; -1 if nothing waits
	dirty   bool
}

func newTurns(cfg Config) *turns { return &turns{cfg: cfg, now: time.Now, pools: map[string]*pool{}} }

func (t *turns) pool(name string) *pool {
	p := t.pools[name]
	if p == nil {
		p = &pool{name: name, workers: map[string]heard{}, classes: map[job.Class]*class{}}
		for _, c := range []job.Class{job.Interactive, job.Bulk} {
			p.classes[c] = &class{tenants: map[job.Tenant]*tenant{}}
		}
		t.pools[name] = p
		t.names = append(t.names, name)
	}
	return p
}

func (c *class) tenant(name job.Tenant) *tenant {
	e := c.tenants[name]
	if e == nil {
		e = &tenant{name: name, weight: 1, virtual: c.system, at: -1}
		c.tenants[name] = e
	}
	return e
}

// report takes in what a worker says that it takes.
func (t *turns) report(c bus.Capacity) { t.pool(c.Pool).workers[c.Worker] = heard{c, t.now()} }

// forget drops what waits and what is out, and keeps virtual times and reports.
func (t *turns) forget() {
	for _, p := range t.pools {
		p.seconds, p.count = 0, 0
		for _, c := range p.classes {
			c.active = nil
			for _, e := range c.tenants {
				e.entries, e.at = nil, -1
			}
		}
	}
}

// add puts an entry into its tenant's order.
func (t *turns) add(e *entry) {
	c := t.pool(e.pool).classes[e.class]
	if c == nil {
		return // the schema knows no other class
	}
	n := c.tenant(e.tenant)
	n.weight = e.owner.Weight
	heap.Push(&n.entries, e)
	if n.at < 0 {
		n.virtual = max(n.virtual, c.system)
		heap.Push(&c.active, n)
	}
}

// remove takes an entry out; one that is not there is none to remove.
func (t *turns) remove(e *entry) {
	c := t.pool(e.pool).classes[e.class]
	n := c.tenant(e.tenant)
	if e.place < 0 || e.place >= len(n.entries) || n.entries[e.place] != e {
		return
	}
	heap.Remove(&n.entries, e.place)
	if len(n.entries) == 0 && n.at >= 0 {
		heap.Remove(&c.active, n.at)
	}
}

// next returns the entry whose turn it is and how much it may let out.
func (t *turns) next() (*entry, limits, bool) {
	for range t.names {
		p := t.pools[t.names[t.at]]
		if lim, ok := p.room(t.now(), t.cfg); ok {
			if c := p.turn(); c != nil {
				return c.active[0].entries[0], lim, true
			}
		}
		t.at = (t.at + 1) % len(t.names)
	}
	return nil, limits{}, false
}

// turn returns the class whose turn it is, nil if nothing waits.
func (p *pool) turn() *class {
	now, bulk := p.classes[job.Interactive], p.classes[job.Bulk]
	switch {
	case len(now.active) == 0 && len(bulk.active) == 0:
		return nil
	case len(bulk.active) == 0, len(now.active) > 0 && p.lead < leadCap:
		return now
	}
	return bulk
}

// room returns what one turn may let out now. A pool that nobody works for gets nothing.
func (p *pool) room(now time.Time, cfg Config) (limits, bool) {
	slots, batch, pace, static := 0, 1, 0.0, false
	for name, w := range p.workers {
		if now.Sub(w.at) > reportFor {
			delete(p.workers, name)
			continue
		}
		slots, batch, pace, static = slots+w.Slots, max(batch, w.Batch), pace+w.Goodput, static || w.Static
	}
	if p.name == bus.PoolAssemble && len(p.workers) == 0 {
		slots = cfg.Joins
	}
	lim := limits{segments: min(batch, bus.MaxBundleSegments), seconds: cfg.BundleSeconds, bytes: messageBytes}
	if pace > 0 {
		lim.seconds = min(lim.seconds, max(bufferSeconds*pace, 1))
	}
	switch {
	case p.name == bus.PoolAssemble:
		return lim, p.count < 2*slots
	case p.count < slots:
		return lim, true
	case static:
		return lim, p.count < 2*slots
	}
	inside := p.seconds * float64(slots) / float64(max(p.count, 1)) // the engines have this much
	return lim, slots > 0 && p.seconds-inside < bufferSeconds*pace
}

// took charges what an entry let out.
func (t *turns) took(e *entry, segments int, seconds float64) {
	if e.join != nil {
		seconds *= joinCost
	}
	p := t.pool(e.pool)
	c := p.classes[e.class]
	n := c.tenant(e.tenant)
	c.system, c.dirty = max(c.system, n.virtual), true
	c.charge(n, seconds)
	p.seconds, p.count = p.seconds+seconds, p.count+segments
	switch {
	case e.class == job.Interactive && len(p.classes[job.Bulk].active) > 0:
		p.lead = min(leadCap, p.lead+seconds*(1-interactiveShare))
	case e.class == job.Bulk:
		p.lead = max(0, p.lead-seconds*interactiveShare)
	}
}

func (c *class) charge(n *tenant, seconds float64) {
	n.virtual, n.dirty = n.virtual+seconds/n.weight, true
	if n.at >= 0 {
		heap.Fix(&c.active, n.at)
	}
}

// out notes a bundle that another let out and charged.
func (t *turns) out(b *bundle) {
	p := t.pool(b.pool)
	for i := range b.keys {
		p.count++
		p.seconds += float64(b.seconds[i])
	}
}

// settle makes room for a segment that is through, and charges what it cost.
func (t *turns) settle(b *bundle, predicted, actual float64) {
	p := t.pool(b.pool)
	p.seconds, p.count = max(p.seconds-predicted, 0), max(p.count-1, 0)
	if c := p.classes[b.owner.Class]; c != nil && actual != predicted {
		c.charge(c.tenant(b.owner.Tenant), actual-predicted)
	}
}

// refund takes back a bundle that did not go out.
func (t *turns) refund(b *bundle) {
	for i := range b.keys {
		t.settle(b, float64(b.seconds[i]), 0)
	}
}

// joinOut notes a join that goes out without having been charged.
func (t *turns) joinOut(j *joining) {
	p := t.pool(bus.PoolAssemble)
	p.count, p.seconds = p.count+1, p.seconds+j.Seconds*joinCost
}

// joined makes room for a join that is through.
func (t *turns) joined(j *joining) {
	p := t.pool(bus.PoolAssemble)
	p.count, p.seconds = max(p.count-1, 0), max(p.seconds-j.Seconds*joinCost, 0)
}

// restore takes over the virtual times of the former leader.
func (t *turns) restore(ctx context.Context, s *store.Store) error {
	times, err := s.VirtualTimes(ctx)
	if err != nil {
		return err
	}
	for _, v := range times {
		c := t.pool(v.Pool).classes[v.Class]
		if v.Tenant == "" {
			c.system = max(c.system, v.Value)
		} else {
			c.tenant(v.Tenant).virtual = v.Value
		}
	}
	return nil
}

// times returns the virtual times that changed since it was called last. A
// tenant that is away and no further than the system's time is forgotten: that
// is where it would start.
func (t *turns) times() (list []store.VirtualTime) {
	for _, p := range t.pools {
		for name, c := range p.classes {
			if c.dirty {
				list = append(list, store.VirtualTime{Pool: p.name, Class: name, Value: c.system})
				c.dirty = false
			}
			for id, n := range c.tenants {
				if n.dirty {
					list = append(list, store.VirtualTime{Pool: p.name, Class: name, Tenant: id, Value: n.virtual})
					n.dirty = false
				} else if n.at < 0 && n.virtual <= c.system {
					delete(c.tenants, id)
				}
			}
		}
	}
	slices.SortFunc(list, func(a, b store.VirtualTime) int {
		return cmp.Or(cmp.Compare(a.Pool, b.Pool), cmp.Compare(a.Class, b.Class), cmp.Compare(a.Tenant, b.Tenant))
	})
	return list
}

// before is the order of a tenant's own work.
func (e *entry) before(o *entry) bool {
	a, b := &e.owner, &o.owner
	switch {
	case a.Deadline != nil && b.Deadline != nil && !a.Deadline.Equal(*b.Deadline):
		return a.Deadline.Before(*b.Deadline)
	case (a.Deadline == nil) != (b.Deadline == nil):
		return a.Deadline != nil
	case a.Priority != b.Priority:
		return a.Priority > b.Priority
	case !a.AcceptedAt.Equal(b.AcceptedAt):
		return a.AcceptedAt.Before(b.AcceptedAt)
	case a.Num != b.Num:
		return a.Num < b.Num
	}
	return e.queue == nil && o.queue != nil // what comes again is older
}

type entryHeap []*entry

func (h entryHeap) Len() int           { return len(h) }
func (h entryHeap) Less(i, j int) bool { return h[i].before(h[j]) }
func (h entryHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].place, h[j].place = i, j
}
func (h *entryHeap) Push(x any) {
	e := x.(*entry)
	e.place = len(*h)
	*h = append(*h, e)
}

func (h *entryHeap) Pop() any {
	old := *h
	e := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	e.place = -1
	return e
}

type tenantHeap []*tenant

func (h tenantHeap) Len() int { return len(h) }
func (h tenantHeap) Less(i, j int) bool {
	if h[i].virtual != h[j].virtual {
		return h[i].virtual < h[j].virtual
	}
	return h[i].name < h[j].name
}

func (h tenantHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].at, h[j].at = i, j
}

func (h *tenantHeap) Push(x any) {
	n := x.(*tenant)
	n.at = len(*h)
	*h = append(*h, n)
}

func (h *tenantHeap) Pop() any {
	old := *h
	n := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	n.at = -1
	return n
}
