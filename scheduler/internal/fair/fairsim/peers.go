package fairsim

import (
	"math"

	"github.com/voicemill/voicemill/job"
)

// line is jobs whose segments go in the order in which they came.
type line struct{ jobs []*Job }

func (l *line) empty() bool { return len(l.jobs) == 0 }

func (l *line) take() *Segment {
	j := l.jobs[0]
	j.next()
	g := j.take()
	if j.waits() == 0 {
		l.jobs[0] = nil
		l.jobs = l.jobs[1:]
	}
	return g
}

// peer asks for a segment at the moment that an engine is free, which no real
// queue can do better.
type peer struct{ pull func(pool string) *Segment }

// Report implements Policy.
func (peer) Report(float64, *Pool) {}

// Refill implements Policy.
func (peer) Refill(float64) {}

// Done implements Policy.
func (peer) Done(float64, *Pool, *Segment) {}

// Call implements Policy.
func (q peer) Call(_ float64, p *Pool) (call []*Segment, again float64) {
	for len(call) < p.Items {
		g := q.pull(p.Name)
		if g == nil {
			break
		}
		call = append(call, g)
	}
	return call, 0
}

// FIFO serves whoever came first.
type FIFO struct {
	peer
	lines map[string]*line
}

// NewFIFO returns the policy.
func NewFIFO() *FIFO {
	f := &FIFO{lines: map[string]*line{}}
	f.pull = func(pool string) *Segment {
		if l := f.lines[pool]; l != nil && !l.empty() {
			return l.take()
		}
		return nil
	}
	return f
}

// Add implements Policy.
func (f *FIFO) Add(_ float64, j *Job) {
	if f.lines[j.pool] == nil {
		f.lines[j.pool] = &line{}
	}
	f.lines[j.pool].jobs = append(f.lines[j.pool].jobs, j)
}

// group is a tenant in a pool.
type group struct {
	line

	tenant job.Tenant
	flying int
	recent float64 // seconds of audio that were served, half of it forgotten each minute
}

type groups map[string][]*group // by pool, in the order in which they came

func (q groups) add(j *Job) {
	for _, g := range q[j.pool] {
		if g.tenant == j.Tenant {
			g.jobs = append(g.jobs, j)
			return
		}
	}
	q[j.pool] = append(q[j.pool], &group{tenant: j.Tenant, line: line{jobs: []*Job{j}}})
}

// RoundRobin gives every tenant a segment in turn.
type RoundRobin struct {
	peer
	groups
	last map[string]int
}

// NewRoundRobin returns the policy.
func NewRoundRobin() *RoundRobin {
	r := &RoundRobin{groups: groups{}, last: map[string]int{}}
	r.pull = func(pool string) *Segment {
		all := r.groups[pool]
		for i := range all {
			at := (r.last[pool] + 1 + i) % len(all)
			if !all[at].empty() {
				r.last[pool] = at
				return all[at].take()
			}
		}
		return nil
	}
	return r
}

// Add implements Policy.
func (r *RoundRobin) Add(_ float64, j *Job) { r.add(j) }

// Quiet is what SQS's fair queues tell of themselves: a tenant with more than a
// tenth and at least 30 of what is in flight, or more than a tenth of the recent
// time of processing, is noisy. The others go first; among equals, whoever came first.
type Quiet struct {
	peer
	groups

	flying map[string]int
	faded  map[string]float64 // when recent times were
}

// NewQuiet returns the policy.
func NewQuiet() *Quiet {
	q := &Quiet{groups: groups{}, flying: map[string]int{}, faded: map[string]float64{}}
	q.pull = q.take
	return q
}

// Add implements Policy.
func (q *Quiet) Add(_ float64, j *Job) { q.add(j) }

func (q *Quiet) take(pool string) *Segment {
	recent := 0.0
	for _, g := range q.groups[pool] {
		recent += g.recent
	}
	var best *group
	noisy := false
	for _, g := range q.groups[pool] {
		if g.empty() {
			continue
		}
		loud := g.flying >= 30 && g.flying*10 > q.flying[pool] || g.recent*10 > recent
		if best == nil || noisy && !loud || noisy == loud && g.jobs[0].Arrived < best.jobs[0].Arrived {
			best, noisy = g, loud
		}
	}
	if best == nil {
		return nil
	}
	best.flying++
	q.flying[pool]++
	return best.take()
}

// Done implements Policy.
func (q *Quiet) Done(now float64, p *Pool, s *Segment) {
	fade := math.Exp2((q.faded[p.Name] - now) / 60)
	q.faded[p.Name] = now
	q.flying[p.Name]--
	for _, g := range q.groups[p.Name] {
		g.recent *= fade
		if g.tenant == s.Job.Tenant {
			g.flying--
			g.recent += s.Audio
		}
	}
}
