package fair

import (
	"cmp"
	"slices"

	"github.com/voicemill/voicemill/job"
)

// Forecast says when what a job has waiting in a pool ends: the work ahead of it
// is let out by the same rules as Next lets it out, and more comes as it came of
// late.
type Forecast struct {
	Job     job.ID
	Pool    string
	Class   job.Class // the queue, in which an urgent bulk job is interactive
	Tenant  job.Tenant
	Seconds float64 // from now until its last segment has ended
	Ahead   int     // jobs of the pool and class that end before it
}

// Expect is what a forecast takes for granted of a pool.
type Expect struct {
	Rate float64 // cost a second; 0: what its workers report
	Live float64 // cost a second that comes interactively, and is served before bulk work
	Bulk map[job.Tenant]Stream
}

// Stream is the bulk work that a tenant sends, of late.
type Stream struct {
	Cost float64 // a second
	Jobs float64 // a second
}

// Forecasts returns a forecast for every job that waits in a pool whose rate is
// known, by pool and class in the order in which they end. What it costs grows
// with the jobs that wait, n log n.
func (c *Core) Forecasts(expect func(pool string) Expect) []Forecast {
	var list []Forecast
	for _, p := range c.pools {
		e := expect(p.name)
		if e.Rate <= 0 {
			e.Rate = p.total.Rate
		}
		if e.Rate <= 0 {
			continue
		}
		first, second := p.queues[interactive].ends(), p.queues[bulk].ends()
		list = append(list, c.times(p, e, first, second, interactive)...)
		list = append(list, c.times(p, e, second, first, bulk)...)
	}
	return list
}

// ending is a job of a queue and how much the queue is served until it ends.
type ending struct {
	*entry
	served float64
	own    float64 // of that, its tenant
}

// times turns what a class is served into time. While both classes wait each has
// its share of the pool; when one is through the other has all of it. What is
// out already ends before.
func (c *Core) times(p *pool, e Expect, mine, other []ending, class int) []Forecast {
	share := c.cfg.InteractiveShare
	rate := e.Rate
	if class == bulk {
		share = 1 - share
		rate -= min(e.Live, c.cfg.InteractiveShare*e.Rate)
	}
	rest := 0.0
	if len(other) > 0 {
		rest = other[len(other)-1].served
	}
	out := p.out[interactive].plus(p.out[bulk]).Cost
	list := make([]Forecast, len(mine))
	for i, m := range mine {
		work := m.served + min(rest, m.served*(1-share)/share)
		seconds := work / rate
		if class == bulk {
			seconds = e.wait(rate, work, m)
		}
		list[i] = Forecast{Job: m.ID, Pool: p.name, Class: className(class), Tenant: m.at.tenant, Seconds: out/e.Rate + seconds, Ahead: i}
	}
	return list
}

// wait returns how long work takes that stands before the end of a bulk job,
// while other tenants go on sending more. That takes from a tenant what is above
// its share, and no more.
func (e *Expect) wait(rate, work float64, m ending) float64 {
	alone, weights := work/rate, 0.0
	var others Stream
	accounts := m.at.q.accounts
	for tenant, comes := range e.Bulk {
		if tenant == m.at.tenant || comes.Cost <= 0 {
			continue
		}
		others.Cost, others.Jobs = others.Cost+comes.Cost, others.Jobs+comes.Jobs
		if a := accounts[tenant]; a != nil && a.waits() {
			weights += a.weight
			continue
		}
		weights += min(1, 4*comes.Cost/rate) // it waits now and then
	}
	for tenant, a := range accounts {
		if tenant != m.at.tenant && a.waits() && e.Bulk[tenant].Cost <= 0 {
			weights += a.weight
		}
	}
	share := m.own / rate * (m.at.weight + weights) / m.at.weight // were all of them there all the time
	const likely = 0.7                                            // jobs that are to be expected before one has come in half of all cases
	quiet := likely / max(others.Jobs, 1e-9)
	switch {
	case alone <= quiet:
		return alone
	case others.Cost >= rate:
		return max(alone, share)
	}
	return max(alone, min(share, (work-others.Cost*quiet)/(rate-others.Cost)))
}

// ends returns the jobs of a queue in the order in which they end. Its tenants are
// served by virtual time: one has had its part up to a moment V of it when all
// others that wait have theirs, so what the queue was served by V is a sum over
// tenants, and grows at the weight of those that are in their time.
func (q *queue) ends() []ending {
	type mark struct {
		at     float64
		weight float64 // of a tenant that comes or goes
		job    *entry  // or what ends
		own    float64 // of its tenant until then
	}
	var marks []mark
	for _, a := range q.accounts {
		if !a.waits() {
			continue
		}
		jobs := slices.Clone(a.jobs.items)
		slices.SortFunc(jobs, func(x, y *entry) int {
			if before(x, y) {
				return -1
			}
			return 1
		})
		at, own := a.vtime, 0.0
		marks = append(marks, mark{at: at, weight: a.weight})
		for _, j := range jobs {
			at += j.Left.Cost / a.weight
			own += j.Left.Cost
			marks = append(marks, mark{at: at, job: j, own: own})
		}
		marks = append(marks, mark{at: at, weight: -a.weight})
	}
	slices.SortFunc(marks, func(x, y mark) int {
		if n := cmp.Compare(x.at, y.at); n != 0 || x.job == nil || y.job == nil {
			return n
		}
		return cmp.Compare(x.job.ID, y.job.ID)
	})
	var list []ending
	served, weight, since := 0.0, 0.0, 0.0
	for _, m := range marks {
		served += weight * (m.at - since)
		since = m.at
		if m.job != nil {
			list = append(list, ending{m.job, served, m.own})
			continue
		}
		weight += m.weight
	}
	return list
}
