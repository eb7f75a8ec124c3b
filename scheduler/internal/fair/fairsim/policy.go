package fairsim

import (
	"cmp"
	"math"
	"slices"
	"time"

	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/scheduler/internal/fair"
)

// Fair is package fair, with cursors over what planning laid down and the two
// lanes that workers read.
type Fair struct {
	Core    *fair.Core
	Weights map[job.Tenant]float64
	Peak    float64 // the most seconds that were released and in no engine
	block   int
	report  fair.Capacity
	cursors map[job.ID][]*Segment
	lanes   [2][]*Segment
	key     int64
}

// Pool is the name of the pool that Fair works in.
const Pool = "pool"

// NewFair returns the policy for n backends whose segments have a mean length.
// Planning sorts bulk work by length in blocks of a number of segments.
func NewFair(engine Engine, n, block int, mean float64) *Fair {
	return &Fair{
		Core: fair.New(fair.DefaultConfig()), Weights: map[job.Tenant]float64{}, block: block, cursors: map[job.ID][]*Segment{},
		report: fair.Capacity{
			Pool: Pool, Worker: "w", Backends: n, Slots: n * engine.Slots, Rate: float64(n) * engine.Rate(mean),
			MaxBatch: engine.Slots, Static: engine.static(),
		},
	}
}

func clock(now float64) time.Time {
	return time.Unix(0, 0).Add(time.Duration(now * float64(time.Second)))
}

// Add implements Policy.
func (f *Fair) Add(now float64, segments []*Segment) {
	first := segments[0]
	segments = slices.Clone(segments)
	left := fair.Work{}
	for _, g := range segments {
		left.Segments++
		left.Cost += g.Pred
	}
	if first.Class == job.Bulk {
		for block := range slices.Chunk(segments, f.block) {
			slices.SortStableFunc(block, func(a, b *Segment) int { return cmp.Compare(b.Pred, a.Pred) })
		}
	}
	f.cursors[first.Job] = segments
	f.Core.Add(fair.Job{
		ID: first.Job, Pool: Pool, Tenant: first.Tenant, Class: first.Class, Weight: f.Weights[first.Tenant],
		Accepted: clock(now), Left: left, Head: head(segments),
	})
}

func head(segments []*Segment) (w fair.Work) {
	for _, g := range segments[:min(16, len(segments))] {
		w.Segments++
		w.Cost += g.Pred
	}
	return w
}

// Refill implements Policy.
func (f *Fair) Refill(now float64) {
	f.report.At = clock(now)
	f.Core.Report(f.report)
	for {
		t, ok := f.Core.Next(clock(now))
		if !ok {
			break
		}
		f.key++
		out, cursor := fair.Work{}, f.cursors[t.Job]
		for len(cursor) > 0 && out.Segments < t.Limit.Segments && (out.Segments == 0 || out.Cost+cursor[0].Pred <= t.Limit.Cost*1.0001) {
			g := cursor[0]
			g.key = f.key
			cursor = cursor[1:]
			out.Segments++
			out.Cost += g.Pred
			at := lane(t.Class)
			f.lanes[at] = append(f.lanes[at], g)
		}
		f.cursors[t.Job] = cursor
		if len(cursor) == 0 {
			delete(f.cursors, t.Job)
		}
		f.Core.Released(t.N, fair.Key{Job: t.Job, N: f.key}, out, head(cursor))
	}
}

// watch notes how much is released and in no engine.
func (f *Fair) watch() {
	waiting := 0.0
	for _, l := range f.lanes {
		for _, g := range l {
			waiting += g.Pred
		}
	}
	f.Peak = max(f.Peak, waiting)
}

func lane(class job.Class) int {
	if class == job.Interactive {
		return 0
	}
	return 1
}

// Pull implements Policy. A batch that interactive work began takes bulk work
// that is hardly longer; one of bulk work the nearest in length.
func (f *Fair) Pull(_ float64, batch []*Segment) *Segment {
	for at := range f.lanes {
		l := f.lanes[at]
		if len(l) == 0 {
			continue
		}
		pick := 0
		if len(batch) > 0 && at == 1 {
			pick = nearest(l, batch)
		}
		if pick < 0 {
			continue
		}
		g := l[pick]
		f.lanes[at] = slices.Delete(l, pick, pick+1)
		return g
	}
	return nil
}

func nearest(l, batch []*Segment) int {
	longest, mixed := 0.0, batch[0].Class == job.Interactive
	for _, g := range batch {
		longest = max(longest, g.Pred)
	}
	best, least := -1, math.Inf(1)
	for i, g := range l {
		if mixed && g.Pred > 1.1*longest {
			continue
		}
		if d := math.Abs(g.Pred - longest); d < least {
			best, least = i, d
		}
	}
	return best
}

// Done implements Policy.
func (f *Fair) Done(_ float64, g *Segment) {
	f.Core.Done(fair.Key{Job: g.Job, N: g.key}, 1, g.Audio)
}

// FIFO publishes everything at once: whoever came first.
type FIFO struct{ line []*Segment }

// Add implements Policy.
func (f *FIFO) Add(_ float64, segments []*Segment) { f.line = append(f.line, segments...) }

// Pull implements Policy.
func (f *FIFO) Pull(float64, []*Segment) *Segment {
	if len(f.line) == 0 {
		return nil
	}
	g := f.line[0]
	f.line = f.line[1:]
	return g
}

// Refill implements Policy.
func (f *FIFO) Refill(float64) {}

// Done implements Policy.
func (f *FIFO) Done(float64, *Segment) {}

// groups is a line for each tenant, in the order in which they came.
type groups struct {
	order []job.Tenant
	lines map[job.Tenant][]*Segment
}

func (q *groups) add(segments []*Segment) {
	if q.lines == nil {
		q.lines = map[job.Tenant][]*Segment{}
	}
	t := segments[0].Tenant
	if _, known := q.lines[t]; !known {
		q.order = append(q.order, t)
	}
	q.lines[t] = append(q.lines[t], segments...)
}

func (q *groups) take(t job.Tenant) *Segment {
	g := q.lines[t][0]
	q.lines[t] = q.lines[t][1:]
	return g
}

// RoundRobin gives every tenant a segment in turn.
type RoundRobin struct {
	FIFO
	groups

	last int
}

// Add implements Policy.
func (r *RoundRobin) Add(_ float64, segments []*Segment) { r.add(segments) }

// Pull implements Policy.
func (r *RoundRobin) Pull(float64, []*Segment) *Segment {
	for i := range r.order {
		at := (r.last + 1 + i) % len(r.order)
		if t := r.order[at]; len(r.lines[t]) > 0 {
			r.last = at
			return r.take(t)
		}
	}
	return nil
}

// Quiet is what SQS's fair queues tell of themselves: a tenant with more than a
// tenth and at least 30 of what is in flight is noisy, and the others go first;
// otherwise whoever came first.
type Quiet struct {
	FIFO
	groups

	flying map[job.Tenant]int
	all    int
}

// Add implements Policy.
func (q *Quiet) Add(_ float64, segments []*Segment) { q.add(segments) }

// Pull implements Policy.
func (q *Quiet) Pull(float64, []*Segment) *Segment {
	var best job.Tenant
	found, noisy := false, false
	for _, t := range q.order {
		l := q.lines[t]
		if len(l) == 0 {
			continue
		}
		loud := q.flying[t] >= 30 && q.flying[t]*10 > q.all
		if !found || noisy && !loud || noisy == loud && l[0].Arrived < q.lines[best][0].Arrived {
			best, found, noisy = t, true, loud
		}
	}
	if !found {
		return nil
	}
	if q.flying == nil {
		q.flying = map[job.Tenant]int{}
	}
	q.flying[best]++
	q.all++
	return q.take(best)
}

// Done implements Policy.
func (q *Quiet) Done(_ float64, g *Segment) {
	q.flying[g.Tenant]--
	q.all--
}
