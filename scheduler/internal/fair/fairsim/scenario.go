package fairsim

import (
	"fmt"
	"math"
	"slices"

	"github.com/voicemill/voicemill/job"
)

// Policies are the names that Named knows.
var Policies = []string{"fair", "fifo", "round robin", "quiet first"}

// Named returns a policy.
func Named(name string) Policy {
	switch name {
	case "fair":
		return NewFair()
	case "one window":
		f := NewFair()
		f.Even = true
		return f
	case "fifo":
		return NewFIFO()
	case "round robin":
		return NewRoundRobin()
	case "quiet first":
		return NewQuiet()
	}
	panic("no policy is called " + name)
}

// What comes before the five minutes of Shares.
const (
	FromTheStart = "from the start"
	AfterIdling  = "after one had the pool alone"
	AcrossPools  = "while one is busy in another pool"
	Misjudged    = "when one speaks 30 % longer than predicted"
)

// Befores are the four.
var Befores = []string{FromTheStart, AfterIdling, AcrossPools, Misjudged}

// Shares returns what tenant a got in five minutes for each second of b, of
// four continuous backends: a's segments are four times as long, a's weight is
// given.
func Shares(policy string, seed uint64, weight float64, before string) float64 {
	src := NewSource(seed)
	sim := New(Named(policy))
	p := sim.Pool("pool", Continuous(), 4)
	a := func(n int) *Job {
		j := src.Job("a", job.Bulk, n, 12)
		j.Weight = weight
		if before == Misjudged {
			j.Bias = 1.3
		}
		return j
	}
	begin := 0.0
	switch before {
	case AfterIdling:
		sim.Submit(p, a(600))
		begin = 300 // a's work ended some minutes ago
	case AcrossPools:
		sim.Submit(sim.Pool("other", Continuous(), 1), a(600))
		begin = 60
	}
	sim.Run(begin)
	sim.Submit(p, src.Job("b", job.Bulk, 8500, 3))
	sim.Run(begin + 60)
	sim.Submit(p, a(1500))
	sim.Run(begin + 120)
	first, second := sim.Served(p, "a"), sim.Served(p, "b")
	sim.Run(begin + 420)
	return (sim.Served(p, "a") - first) / (sim.Served(p, "b") - second)
}

// Load is work for some backends of an engine, for some time.
type Load struct {
	Engine   Engine
	Backends int
	Live     float64 // jobs a second of 20 interactive tenants, one to five segments each
	Books    float64 // of the pool's rate: what two bulk tenants send in books of 300 segments; above 1 they are all there at the start
	Seconds  float64
}

// Mixed is what a load came to.
type Mixed struct {
	P50, P95   float64 // of interactive jobs from submit to the finished file; those that wait still count with their age
	Throughput float64 // seconds of audio a second
	Occupancy  float64 // of the window in force, while work waits
	Peak, Over float64 // of Fair
}

// Mix runs a load.
func Mix(policy string, l Load, seed uint64) Mixed {
	src := NewSource(seed)
	q := Named(policy)
	sim := New(q)
	p := sim.Pool("pool", l.Engine, l.Backends)
	sim.Pool(Joins, Joining(), 4)
	open := map[*Job]bool{}
	var took []float64
	audio := 0.0
	sim.OnDone = func(g *Segment) {
		if !g.Job.join {
			audio += g.Audio
		}
	}
	sim.OnJob = func(j *Job) {
		if open[j] {
			took = append(took, sim.Now-j.Arrived)
			delete(open, j)
		}
	}
	books(src, sim, p, l)
	for at := src.rnd.ExpFloat64() / l.Live; at < l.Seconds; at += src.rnd.ExpFloat64() / l.Live {
		j := src.Job(job.Tenant(fmt.Sprintf("live%d", src.rnd.IntN(20))), job.Interactive, 1+src.rnd.IntN(5), Mean)
		sim.At(at, func() {
			open[j] = true
			sim.Submit(p, j)
		})
	}
	sim.Run(l.Seconds)
	for j := range open {
		took = append(took, sim.Now-j.Arrived)
	}
	slices.Sort(took)
	m := Mixed{P50: took[len(took)/2], P95: took[len(took)*95/100], Throughput: audio / l.Seconds, Occupancy: p.Occupancy()}
	if f, ok := q.(*Fair); ok {
		m.Peak, m.Over = f.Peak, f.Over()
	}
	return m
}

// books lets the bulk work of a load arrive.
func books(src *Source, sim *Sim, p *Pool, l Load) {
	const segments = 300
	rate := float64(l.Backends) * l.Engine.Rate(l.Engine.Slots, Mean) / (segments * Mean) // books a second
	each := 1 / (rate * l.Books)
	if l.Books > 1 {
		for n := range int(l.Seconds * rate * l.Books) {
			sim.Submit(p, src.Job(job.Tenant(fmt.Sprintf("bulk%d", n%2)), job.Bulk, segments, Mean))
		}
		return
	}
	for at := src.rnd.ExpFloat64() * each; at < l.Seconds; at += src.rnd.ExpFloat64() * each {
		j := src.Job(job.Tenant(fmt.Sprintf("bulk%d", src.rnd.IntN(2))), job.Bulk, segments, Mean)
		sim.At(at, func() { sim.Submit(p, j) })
	}
}

// Makespan returns how long a job of a number of segments takes on n backends of
// some workers, in parts of the lower bound.
func Makespan(policy string, engine Engine, n, workers, segments int, seed uint64) float64 {
	sim := New(Named(policy))
	p := sim.Pool("pool", engine, n/workers)
	for range workers - 1 {
		sim.Pool("pool", engine, n/workers)
	}
	var lengths []float64
	sim.OnDone = func(g *Segment) { lengths = append(lengths, g.Audio) }
	last := 0.0
	sim.OnJob = func(*Job) { last = sim.Now }
	sim.Submit(p, NewSource(seed).Job("a", job.Bulk, segments, Mean))
	sim.Run(math.Inf(1))
	return last / Bound(engine, n, lengths)
}

// Bound returns the least time in which n backends speak segments, whoever
// knows their lengths before: every slot busy; on static engines the calls of
// segments sorted by length, spread evenly.
func Bound(engine Engine, n int, lengths []float64) float64 {
	sum := 0.0
	for _, l := range lengths {
		sum += l
	}
	if !engine.static() {
		return sum / (float64(n) * engine.Rate(engine.Slots, Mean))
	}
	lengths = slices.Clone(lengths)
	slices.Sort(lengths)
	slices.Reverse(lengths)
	total := engine.C * sum
	for call := range slices.Chunk(lengths, engine.Slots) {
		total += engine.A + engine.B*call[0]
	}
	return total / float64(n)
}

// Corpus returns how long books of seven hours take on n backends, costs only,
// in parts of the least time: no call costs less than a full one of segments
// that are all as long as their mean.
func Corpus(engine Engine, n, books int, seed uint64) (ratio, hours, seconds float64) {
	const tenants, each, mean = 50, 7 * 3600, 12
	src := NewSource(seed)
	sim := New(NewFair())
	p := sim.Pool("pool", engine, n)
	sum, least := 0.0, 0.0
	sim.OnDone = func(g *Segment) {
		sum += g.Audio
		if engine.static() {
			least += engine.C*g.Audio + (engine.A+engine.B*g.Audio)/float64(engine.Slots)
		} else {
			least += g.Audio / engine.Rate(engine.Slots, mean)
		}
	}
	for i := range books {
		segments := int(each / mean * math.Exp(0.5*src.rnd.NormFloat64()-0.125))
		sim.Submit(p, src.Job(job.Tenant(fmt.Sprintf("t%d", i%tenants)), job.Bulk, max(1, segments), mean))
	}
	last := 0.0
	sim.OnJob = func(*Job) { last = sim.Now }
	sim.Run(math.Inf(1))
	return last / (least / float64(n)), sum / 3600, last
}

// Spread returns the mean, least and greatest of what a scenario gives for seeds.
func Spread(seeds int, run func(seed uint64) float64) (mean, least, greatest float64) {
	least, greatest = math.Inf(1), math.Inf(-1)
	for i := range seeds {
		v := run(uint64(i + 1))
		mean += v / float64(seeds)
		least, greatest = min(least, v), max(greatest, v)
	}
	return mean, least, greatest
}
