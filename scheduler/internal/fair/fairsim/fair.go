package fairsim

import (
	"time"

	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/scheduler/internal/fair"
)

// Fair is package fair with what it has around it: the leader's cursors and the
// workers of its pools.
type Fair struct {
	Core    *fair.Core
	Peak    float64 // the most seconds of the pool's work, or calls a backend, that were out beyond what engines hold
	Even    bool    // the window stays as it is when interactive work comes
	jobs    map[job.ID]*Job
	workers map[*Pool]*worker
	lines   map[string]*[2][]*Segment // what is out and with no worker, by pool
	bundles int64

	looked, time, buffer, over float64
}

// NewFair returns the policy.
func NewFair() *Fair {
	return &Fair{Core: fair.New(fair.DefaultConfig()), jobs: map[job.ID]*Job{}, workers: map[*Pool]*worker{}, lines: map[string]*[2][]*Segment{}}
}

const bundleSeconds = 120 // of one message, as the leader is set

func clock(now float64) time.Time {
	return time.Unix(0, 0).Add(time.Duration(now * float64(time.Second)))
}

func (f *Fair) worker(p *Pool) *worker {
	w := f.workers[p]
	if w == nil {
		w = &worker{eased: p.Calls}
		if !p.engine.static() && !f.Even {
			w.eased = (3*p.Calls + 7) / 8
		}
		f.workers[p] = w
		if f.lines[p.Name] == nil {
			f.lines[p.Name] = &[2][]*Segment{}
		}
	}
	return w
}

// Report implements Policy.
func (f *Fair) Report(now float64, p *Pool) {
	w := f.worker(p)
	w.window(now, p)
	r := fair.Capacity{
		Pool: p.Name, Worker: p.Worker, Backends: p.Calls, Slots: p.Calls * p.Items, Spared: (p.Calls - w.window(now, p)) * p.Items,
		Rate: w.goodput(), MaxBatch: p.Items, Static: p.Items > 1, At: clock(now),
	}
	if p.Name == Joins { // each class has half of them
		r.Static, r.Rate, r.Spared = true, 0, p.Calls/2
	}
	f.Core.Report(r)
}

// Add implements Policy.
func (f *Fair) Add(now float64, j *Job) {
	j.sorted = j.Class == job.Bulk
	f.jobs[j.ID] = j
	f.add(j)
}

func (f *Fair) add(j *Job) {
	f.Core.Add(fair.Job{
		ID: j.ID, Pool: j.pool, Tenant: j.Tenant, Class: j.Class, Weight: j.Weight, Accepted: clock(j.Arrived),
		Left: fair.Work{Segments: j.waits(), Cost: max(j.left, 0.001)},
	})
}

// Refill implements Policy.
func (f *Fair) Refill(now float64) {
	for t, ok := f.Core.Next(clock(now)); ok; t, ok = f.Core.Next(clock(now)) {
		j := f.jobs[t.Job]
		f.bundles++
		out := f.cut(j, t)
		f.Core.Released(t.N, fair.Key{Job: t.Job, N: f.bundles}, out, fair.Work{})
		if j.waits() > 0 {
			f.add(j)
			continue
		}
		f.Core.Remove(j.ID)
		delete(f.jobs, j.ID)
	}
}

// cut lets the next segments of a job out, of one block.
func (f *Fair) cut(j *Job, t fair.Turn) (out fair.Work) {
	lines := f.lines[j.pool]
	g := j.next()
	for g != nil && (out.Segments == 0 || out.Segments < t.Limit.Segments && out.Cost+g.Pred <= min(t.Limit.Cost, bundleSeconds)) {
		j.take()
		g.key, g.last = f.bundles, t.Last
		out.Segments++
		out.Cost += g.Pred
		lines[lane(g)] = append(lines[lane(g)], g)
		if g = nil; len(j.block) > 0 {
			g = j.next()
		}
	}
	return out
}

// settleIn is how long after the start Peak is not looked at: rates are not known yet.
const settleIn = 30

// watch notes how much is out and in no engine when a worker has nothing more to start.
func (f *Fair) watch(now float64, p *Pool) {
	w := f.worker(p)
	if now < settleIn || p.Name == Joins {
		return
	}
	if p.Items > 1 {
		out := f.Core.Out(p.Name, job.Interactive).Segments + f.Core.Out(p.Name, job.Bulk).Segments
		f.note(now, float64(out-p.Calls*p.Items)/float64(p.Calls*p.Items), 2)
		return
	}
	waiting := 0.0
	for _, g := range w.waiting {
		waiting += g.Pred
	}
	f.note(now, waiting/(float64(len(p.backends))*p.engine.Rate(p.window/len(p.backends), Mean)), 1)
}

func (f *Fair) note(now, buffer, most float64) {
	if f.looked > 0 {
		f.time += now - f.looked
		if f.buffer > most+1e-9 {
			f.over += now - f.looked
		}
	}
	f.looked, f.buffer, f.Peak = now, buffer, max(f.Peak, buffer)
}

// Over returns the part of the time in which more was out than a second of a
// continuous pool's work, or two calls a backend.
func (f *Fair) Over() float64 { return f.over / f.time }

// Call implements Policy.
func (f *Fair) Call(now float64, p *Pool) (call []*Segment, again float64) {
	w := f.worker(p)
	if window := w.window(now, p); window != p.window {
		p.window = window
		f.Report(now, p) // a worker that takes more or less says so at once
	}
	f.pull(now, p, w)
	return w.call(now, p)
}

// pull lets a worker take what it has room for.
func (f *Fair) pull(now float64, p *Pool, w *worker) {
	lines := f.lines[p.Name]
	most := [2]int{w.most(p, p.Calls), w.most(p, w.window(now, p))}
	for i := range lines {
		for len(lines[i]) > 0 && w.inHand[i] < most[i] {
			w.arrive(now, lines[i][0])
			lines[i] = lines[i][1:]
		}
	}
}

// Done implements Policy.
func (f *Fair) Done(now float64, p *Pool, g *Segment) {
	f.workers[p].done(now, g)
	f.Core.Done(fair.Key{Job: g.Job.ID, N: g.key}, 1, g.Audio)
}
