package fair

import (
	"cmp"
	"slices"

	"github.com/voicemill/voicemill/job"
)

// Clock is a virtual time: of a tenant in a queue, or, if Tenant is empty, the
// system time of the queue. A tenant's clock at or before its system's says
// nothing and need not be stored.
type Clock struct {
	Pool   string
	Class  job.Class
	Tenant job.Tenant
	Time   float64
}

// Snapshot returns every clock, sorted.
func (c *Core) Snapshot() []Clock {
	var clocks []Clock
	for _, p := range c.pools {
		for _, q := range p.queues {
			clocks = append(clocks, q.clock())
			for _, a := range q.accounts {
				clocks = append(clocks, a.clock())
			}
		}
	}
	return sorted(clocks)
}

// Clocks returns the clocks that turns have moved: what a release stores. True
// ups come with the next turn of their tenant.
func (c *Core) Clocks(turns ...Turn) []Clock {
	var clocks []Clock
	for _, t := range turns {
		p := c.byName[t.Pool]
		if p == nil {
			continue
		}
		q := p.queues[classOf(t.Class)]
		clocks = append(clocks, q.clock())
		if a := q.accounts[t.Tenant]; a != nil {
			clocks = append(clocks, a.clock())
		}
	}
	return sorted(clocks)
}

// Restore takes over the clocks of a former leader, before anything else is
// added or adopted.
func (c *Core) Restore(clocks []Clock) {
	for _, k := range clocks {
		q := c.pool(k.Pool).queues[classOf(k.Class)]
		if k.Tenant == "" {
			q.system = max(q.system, k.Time)
			q.top = max(q.top, k.Time)
			continue
		}
		a := q.account(k.Tenant, 0)
		a.vtime = max(0, k.Time)
		q.top = max(q.top, a.vtime)
		q.retire(a)
	}
	for _, p := range c.pools {
		for _, q := range p.queues {
			q.forget()
		}
	}
}

func (q *queue) clock() Clock { return Clock{q.pool.name, className(q.class), "", q.system} }

func (a *account) clock() Clock {
	return Clock{a.q.pool.name, className(a.q.class), a.tenant, a.vtime}
}

func sorted(clocks []Clock) []Clock {
	slices.SortFunc(clocks, func(a, b Clock) int {
		return cmp.Or(cmp.Compare(a.Pool, b.Pool), cmp.Compare(a.Class, b.Class), cmp.Compare(a.Tenant, b.Tenant))
	})
	return slices.Compact(clocks)
}
