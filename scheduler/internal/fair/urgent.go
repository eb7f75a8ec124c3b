package fair

import "time"

// keyOne says when a bulk job with a deadline becomes urgent: when its slack is
// less than UrgentFactor times what is left of it at the pool's whole rate.
func (c *Core) keyOne(p *pool, e *entry) {
	if e.Deadline.IsZero() || e.at.q.class == interactive || p.total.Rate == 0 {
		p.urgent.drop(e)
		return
	}
	p.keyed = max(p.keyed, p.total.Rate)
	e.due = c.due(p, e)
	p.urgent.put(e)
}

func (c *Core) due(p *pool, e *entry) time.Time {
	const longest = 1000 * 24 * time.Hour // what a Duration holds, and more than any job takes
	need := min(c.cfg.UrgentFactor*e.Left.Cost/p.total.Rate, longest.Seconds())
	return e.Deadline.Add(-time.Duration(need * float64(time.Second)))
}

// key makes all due times of a pool anew: it has become slower.
func (c *Core) key(p *pool) {
	p.keyed = p.total.Rate
	for _, e := range c.jobs {
		if e.at.q.pool == p {
			c.keyOne(p, e)
		}
	}
}

// promote moves the bulk jobs that became urgent into the interactive queue.
func (c *Core) promote(p *pool, now time.Time) {
	for e := p.urgent.first(); e != nil && !e.due.After(now); e = p.urgent.first() {
		if p.total.Rate > 0 {
			if e.due = c.due(p, e); e.due.After(now) {
				p.urgent.put(e)
				continue
			}
		}
		p.urgent.drop(e)
		if e.place < 0 {
			continue // its last segments are in open turns
		}
		weight := e.at.weight
		e.at.q.leave(e)
		p.queues[interactive].enter(e, weight)
	}
}
