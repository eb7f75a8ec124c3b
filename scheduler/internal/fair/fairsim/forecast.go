package fairsim

import (
	"fmt"
	"math"
	"math/rand/v2"

	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/scheduler/internal/fair"
)

// Foretold is a forecast of a bulk job at some moment of its life, and what came.
type Foretold struct {
	Low, Middle, High float64
	Took              float64
}

// prophet forecasts every open book as the leader's loop does, and keeps one
// forecast of each by chance.
type prophet struct {
	sim    *Sim
	core   *fair.Core
	pool   *Pool
	rnd    *rand.Rand
	open   []*prophecy
	record fair.Record
	list   []Foretold

	live               float64 // cost of interactive jobs that came, fading
	comes              map[job.Tenant]fair.Stream
	since              float64
	done, spoken, busy float64 // cost since the last look; while work waited
	waited             bool
}

type prophecy struct {
	Foretold
	job     *Job
	raw, at float64
	seen    int
}

// The forecasts are made every so many seconds; what was seen fades with each.
const (
	lookEvery = 10
	lookFades = 0.98
)

// Foretell sends books of four tenants and interactive jobs of others through
// engines that they keep busy to a part (of 1 or more: all books are there at the
// start), and forecasts each open book every ten seconds. It returns one forecast
// of each book that ended, at random, in the order in which they ended. What came
// of those is what the next intervals are made of.
func Foretell(engine Engine, backends int, load float64, books int, seed uint64) []Foretold {
	src, policy := NewSource(seed), NewFair()
	sim := New(policy)
	p := &prophet{
		sim: sim, core: policy.Core, pool: sim.Pool("pool", engine, backends), rnd: rand.New(rand.NewPCG(seed, 9)), comes: map[job.Tenant]fair.Stream{},
	}
	sim.OnDone = func(g *Segment) { p.done += g.Pred }
	sim.OnJob = p.ended
	sim.At(lookEvery, p.look)
	const segments, spread = 150, 0.8 // of a book
	mean := segments * math.Exp(spread*spread/2) * Mean
	rate := float64(backends) * engine.Rate(engine.Slots, Mean)
	at := 0.0
	for n := range books {
		size := int(segments * math.Exp(spread*src.rnd.NormFloat64()))
		j := src.Job(job.Tenant(fmt.Sprintf("bulk%d", n%4)), job.Bulk, max(20, size), Mean)
		if load < 1 {
			at += src.rnd.ExpFloat64() * mean / (0.8 * load * rate)
		}
		sim.At(at, func() {
			p.open = append(p.open, &prophecy{job: j})
			s := p.comes[j.Tenant]
			p.comes[j.Tenant] = fair.Stream{Cost: s.Cost + j.Cost, Jobs: s.Jobs + 1}
			sim.Submit(p.pool, j)
		})
	}
	for t, ends := 0.0, float64(books)*mean/(0.8*min(1, load)*rate); t < ends; t += src.rnd.ExpFloat64() * 3 * Mean / (0.2 * min(1, load) * rate) {
		j := src.Job(job.Tenant(fmt.Sprintf("live%d", src.rnd.IntN(20))), job.Interactive, 1+src.rnd.IntN(5), Mean)
		sim.At(t, func() {
			p.live += j.Cost
			sim.Submit(p.pool, j)
		})
	}
	for sim.Now <= at || len(p.open) > 0 {
		sim.Run(sim.Now + 1000)
	}
	return p.list
}

// look forecasts every open book.
func (p *prophet) look() {
	by := map[job.ID]fair.Forecast{}
	for _, f := range p.core.Forecasts(func(string) fair.Expect { return p.expect() }) {
		by[f.Job] = f
	}
	for _, o := range p.open {
		f, ok := by[o.job.ID]
		if !ok {
			continue // its last segments are out
		}
		if o.seen++; p.rnd.IntN(o.seen) == 0 { // each of a job's forecasts is as likely
			o.at, o.raw = p.sim.Now, f.Seconds
			o.Low, o.Middle, o.High = p.record.Interval(f.Seconds)
		}
	}
	p.sim.At(p.sim.Now+lookEvery, p.look)
}

// expect says what came of late, and how fast the pool was while work waited.
func (p *prophet) expect() fair.Expect {
	p.live, p.since = p.live*lookFades, p.since*lookFades+lookEvery
	waits := p.core.Len() > 0
	if waits && p.waited {
		p.spoken, p.busy = lookFades*p.spoken+p.done, lookFades*p.busy+lookEvery
	}
	p.waited, p.done = waits, 0
	e := fair.Expect{Live: p.live / p.since, Bulk: map[job.Tenant]fair.Stream{}}
	if p.busy > 3*lookEvery {
		e.Rate = p.spoken / p.busy
	}
	for tenant, s := range p.comes {
		s = fair.Stream{Cost: lookFades * s.Cost, Jobs: lookFades * s.Jobs}
		p.comes[tenant] = s
		e.Bulk[tenant] = fair.Stream{Cost: s.Cost / p.since, Jobs: s.Jobs / p.since}
	}
	return e
}

func (p *prophet) ended(j *Job) {
	for i, o := range p.open {
		if o.job != j {
			continue
		}
		p.open = append(p.open[:i], p.open[i+1:]...)
		if o.seen > 0 {
			o.Took = p.sim.Now - o.at
			p.record.Add(o.raw, o.Took)
			p.list = append(p.list, o.Foretold)
		}
		return
	}
}
