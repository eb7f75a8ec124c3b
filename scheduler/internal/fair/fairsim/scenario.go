package fairsim

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"

	"github.com/voicemill/voicemill/job"
)

// Policies are the names that Named knows.
var Policies = []string{"fair", "fifo", "round robin", "quiet first"}

// Named returns a policy for n backends of an engine.
func Named(name string, engine Engine, n int) Policy {
	switch name {
	case "fair":
		return NewFair(engine, n, Block, Mean)
	case "fifo":
		return &FIFO{}
	case "round robin":
		return &RoundRobin{}
	default:
		return &Quiet{}
	}
}

const (
	// Block is how many segments planning sorts by length at once.
	Block = 64
	// Mean is the mean length of a segment in seconds, that of LJSpeech.
	Mean = 6.6
	// Delay is from a result to the next release in a worker's hands.
	Delay = 0.02
)

// Source makes jobs.
type Source struct {
	rnd  *rand.Rand
	jobs int
}

// NewSource returns a source that makes the same jobs for the same seed.
func NewSource(seed uint64) *Source { return &Source{rnd: rand.New(rand.NewPCG(seed, 8))} }

// Job returns n segments of a mean length, with a coefficient of variation of 0.38.
func (s *Source) Job(tenant job.Tenant, class job.Class, n int, mean float64) []*Segment {
	s.jobs++
	id := job.ID(fmt.Sprintf("job%07d", s.jobs))
	out := make([]*Segment, n)
	for i := range out {
		pred := min(18, max(0.4, mean*math.Exp(0.37*s.rnd.NormFloat64()-0.37*0.37/2)))
		out[i] = &Segment{Tenant: tenant, Job: id, Class: class, Pred: pred, Audio: pred * math.Exp(0.15*s.rnd.NormFloat64())}
	}
	return out
}

// Shares returns what tenant a got in five minutes for each second of b, of
// four backends: a's segments are four times as long, a's weight is given. Idle
// lets a have the pool alone for ten minutes and then drain before that.
func Shares(policy string, seed uint64, weight float64, idle bool) float64 {
	src := NewSource(seed)
	p := Named(policy, Continuous(), 4)
	if f, ok := p.(*Fair); ok {
		f.Weights["a"] = weight
	}
	sim := New(Continuous(), 4, Delay, p)
	begin := 0.0
	if idle {
		sim.Submit(src.Job("a", job.Bulk, 3000, 12))
		begin = 1500
	}
	got := map[job.Tenant]float64{}
	sim.OnDone = func(g *Segment) {
		if sim.Now >= begin+120 && sim.Now < begin+420 {
			got[g.Tenant] += g.Audio
		}
	}
	sim.Run(begin)
	sim.Submit(src.Job("b", job.Bulk, 20_000, 3))
	sim.At(sim.Now+60, func() { sim.Submit(src.Job("a", job.Bulk, 6000, 12)) })
	sim.Run(begin + 420)
	return got["a"] / got["b"]
}

// Mixed is what Mix saw.
type Mixed struct {
	P95        float64 // of interactive jobs, from submit to the last segment; those that wait still count with their age
	Throughput float64 // seconds of audio a second
	Occupancy  float64
	Peak       float64 // seconds of work released and in no engine, Fair only
}

// Mix lets 20 interactive tenants send rate jobs a second of one to five
// segments, beside two bulk tenants with backlog if loaded, for half an hour.
func Mix(policy string, engine Engine, n int, rate float64, loaded bool, seed uint64) Mixed {
	const hour = 1800.0
	src := NewSource(seed)
	p := Named(policy, engine, n)
	sim := New(engine, n, Delay, p)
	left, began := map[job.ID]int{}, map[job.ID]float64{}
	var took []float64
	audio := 0.0
	sim.OnDone = func(g *Segment) {
		audio += g.Audio
		if g.Class != job.Interactive {
			return
		}
		if left[g.Job]--; left[g.Job] == 0 {
			took = append(took, sim.Now-began[g.Job])
			delete(left, g.Job)
		}
	}
	if loaded {
		backlog := int(hour * float64(n) * 30 / Mean / 2)
		sim.Submit(src.Job("bulk1", job.Bulk, backlog, Mean))
		sim.Submit(src.Job("bulk2", job.Bulk, backlog, Mean))
	}
	for at := src.rnd.ExpFloat64() / rate; at < hour; at += src.rnd.ExpFloat64() / rate {
		j := src.Job(job.Tenant(fmt.Sprintf("live%d", src.rnd.IntN(20))), job.Interactive, 1+src.rnd.IntN(5), Mean)
		sim.At(at, func() {
			left[j[0].Job], began[j[0].Job] = len(j), sim.Now
			sim.Submit(j)
		})
	}
	sim.Run(hour)
	for id := range left {
		took = append(took, sim.Now-began[id])
	}
	slices.Sort(took)
	m := Mixed{P95: took[len(took)*95/100], Throughput: audio / hour, Occupancy: sim.Occupancy()}
	if f, ok := p.(*Fair); ok {
		m.Peak = f.Peak / (float64(n) * engine.Rate(Mean))
	}
	return m
}

// Makespan returns how long jobs of a number of segments take on n backends,
// all there at the start, in parts of the lower bound.
func Makespan(policy string, engine Engine, n, jobs, segments int, seed uint64) float64 {
	src := NewSource(seed)
	sim := New(engine, n, Delay, Named(policy, engine, n))
	var all []*Segment
	for i := range jobs {
		all = append(all, src.Job(job.Tenant(fmt.Sprintf("t%d", i%50)), job.Bulk, segments, Mean)...)
	}
	last := 0.0
	sim.OnDone = func(*Segment) { last = sim.Now }
	for j := range slices.Chunk(all, segments) {
		sim.Submit(j)
	}
	sim.Run(math.Inf(1))
	return last / Bound(engine, n, all)
}

// Bound returns the least time in which n backends do segments: every slot
// busy; on static engines the batches sorted by length, spread evenly.
func Bound(engine Engine, n int, segments []*Segment) float64 {
	lengths := make([]float64, len(segments))
	sum := 0.0
	for i, g := range segments {
		lengths[i] = g.Audio
		sum += g.Audio
	}
	if !engine.static() {
		return sum / (float64(n) * engine.Rate(Mean))
	}
	slices.Sort(lengths)
	slices.Reverse(lengths)
	total := engine.C * sum
	for batch := range slices.Chunk(lengths, engine.Slots) {
		total += engine.A + engine.B*batch[0]
	}
	return total / float64(n)
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
