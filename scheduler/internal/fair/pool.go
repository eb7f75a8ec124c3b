package fair

import (
	"math"
	"time"

	"github.com/voicemill/voicemill/job"
)

// Capacity is what a worker reports of its part in a pool.
type Capacity struct {
	Pool     string
	Worker   string
	Backends int     // engines that take calls by themselves
	Slots    int     // segments that they hold at once: windows, or calls in flight times batch
	Spared   int     // of these, what bulk work does not get now: interactive work comes, and is slow beside many
	Rate     float64 // cost a second while they have work; 0 if not known yet
	MaxBatch int     // segments of a call; 0 or 1 where an engine takes single ones
	Static   bool    // a call ends as a whole
	At       time.Time
}

// maxRate keeps sums of reports finite.
const maxRate = 1e9

func (c Capacity) sane() Capacity {
	c.Backends, c.Slots, c.MaxBatch = max(0, c.Backends), max(0, c.Slots), max(0, c.MaxBatch)
	c.Spared = min(max(0, c.Spared), max(0, c.Slots-1))
	if !(c.Rate > 0) { // NaN, too
		c.Rate = 0
	}
	c.Rate = min(c.Rate, maxRate)
	return c
}

// pool is one pool: its capacity, its two queues, what is out.
type pool struct {
	name    string
	workers map[string]Capacity
	total   Capacity // of the workers that were heard of lately
	oldest  time.Time
	queues  [2]*queue // interactive, bulk
	out     [2]Work   // by class
	newest  float64   // mean cost of what went last
	lead    float64   // what interactive work took beyond its share
	urgent  ordered[*entry]
	keyed   float64    // the greatest rate that due times were made with
	bundle  float64    // cost of a large bundle
	large   float64    // segments of a large bundle
	may     [2]float64 // segments that may be out when a class goes, about
	share   float64    // of them, for a tenant while others wait
}

const (
	interactive = 0
	bulk        = 1
)

func classOf(c job.Class) int {
	if c == job.Interactive {
		return interactive
	}
	return bulk
}

func className(class int) job.Class {
	if class == interactive {
		return job.Interactive
	}
	return job.Bulk
}

func newPool(name string) *pool {
	p := &pool{name: name, workers: map[string]Capacity{}}
	p.queues = [2]*queue{newQueue(p, interactive), newQueue(p, bulk)}
	p.urgent = ordered[*entry]{
		less:  func(a, b *entry) bool { return a.due.Before(b.due) },
		place: func(e *entry) *int { return &e.urgent },
	}
	return p
}

// report takes a worker's word, newest first.
func (p *pool) report(c Capacity) {
	if had, known := p.workers[c.Worker]; known && c.At.Before(had.At) {
		return
	}
	p.workers[c.Worker] = c.sane()
	p.sum()
}

// age drops the workers that were silent since before.
func (p *pool) age(before time.Time) {
	if len(p.workers) == 0 || !p.oldest.Before(before) {
		return
	}
	for name, c := range p.workers {
		if c.At.Before(before) {
			delete(p.workers, name)
		}
	}
	p.sum()
}

func (p *pool) sum() {
	t := Capacity{Pool: p.name}
	p.oldest = time.Time{}
	for _, c := range p.workers {
		t.Backends += c.Backends
		t.Slots += c.Slots
		t.Spared += c.Spared
		t.Rate += c.Rate
		t.MaxBatch = max(t.MaxBatch, c.MaxBatch)
		t.Static = t.Static || c.Static
		if p.oldest.IsZero() || c.At.Before(p.oldest) {
			p.oldest = c.At
		}
	}
	p.total = t
}

// deep returns how many segments of a mean length the buffer holds, and which
// part of it bulk work may fill.
func (p *pool) deep(cfg *Config, mean float64) (segments, part float64) {
	t := p.total
	switch {
	case t.Static:
		return float64(cfg.BuffersPerBackend * t.Backends * max(1, t.MaxBatch)), cfg.BulkBatches
	case mean > 0:
		return t.Rate * cfg.Buffer.Seconds() / mean, cfg.BulkBuffer
	}
	return 0, cfg.BulkBuffer
}

// room is how much more of a class may go out: into free slots of the engines,
// and into the buffer behind them.
type room struct {
	free   int     // segments that the engines take at once; on static pools the buffer, too
	buffer float64 // cost that the buffer still takes
	empty  bool    // nothing is in the buffer, so one segment fits whatever it costs
}

// room looks at all that is out. Bulk work may fill its part of the buffer. As
// workers take interactive work first, what waits of both is bulk work as far as
// that can be, and interactive work has the rest of the buffer for itself.
func (p *pool) room(cfg *Config, class int) room {
	t, all := p.total, p.out[interactive].plus(p.out[bulk])
	if t.Slots == 0 {
		return room{}
	}
	deep, part := p.deep(cfg, all.mean())
	slots, taken, buffer := t.Slots-t.Spared, all.Segments, int(part*deep)
	if class == interactive {
		taken -= min(p.out[bulk].Segments, max(0, taken-slots), buffer)
		slots, part, buffer = t.Slots, 1-part, int(deep)-buffer
	}
	if t.Static {
		return room{free: max(0, slots+buffer-taken)}
	}
	r := room{free: max(0, slots-taken)}
	if t.Rate > 0 {
		waiting := max(all.mean(), p.newest) * float64(max(0, taken-slots)) // what waits came last
		r.buffer = max(0, part*t.Rate*cfg.Buffer.Seconds()-waiting)
		r.empty = taken <= slots
	}
	return r
}

// limit returns the largest bundle of a job that may go out now, no segments
// if none fits. A job that waits alone is spread over the backends at its end.
func (p *pool) limit(cfg *Config, e *entry, r room, alone bool) Work {
	t, most := p.total, cfg.MaxSegments
	switch {
	case t.Rate == 0:
		most = min(1, r.free)
	case t.Static:
		most = min(most, r.free)
	}
	if most == 0 {
		return Work{}
	}
	head := e.head(most)
	mean := head.mean()
	cost := t.Rate * cfg.BundleWork.Seconds()
	if !t.Static && t.Rate > 0 {
		cost = min(cost, r.buffer+float64(r.free)*mean)
		if r.free == 0 && !r.empty && mean > cost {
			return Work{}
		}
	}
	if alone && t.Backends > 1 {
		cost = min(cost, e.Left.Cost/float64(t.Backends))
	}
	if mean > 0 && head.Cost > cost {
		n := max(1, int(cost/mean))
		head = Work{n, mean * float64(n)}
	}
	return head
}

// measure brings what a bundle and a tenant's part are up to date, by the mean
// of what is out.
func (p *pool) measure(cfg *Config) {
	t, mean := p.total, p.out[interactive].plus(p.out[bulk]).mean()
	p.share = cfg.TenantShare
	p.bundle = max(t.Rate*cfg.BundleWork.Seconds(), mean)
	p.large, p.may = 1, [2]float64{math.Inf(1), math.Inf(1)}
	if t.Static {
		p.bundle = min(p.bundle, max(1, float64(cfg.MaxSegments))*mean)
	}
	if mean > 0 {
		p.large = max(1, min(float64(cfg.MaxSegments), p.bundle/mean))
	}
	if deep, part := p.deep(cfg, mean); deep > 0 {
		p.may = [2]float64{float64(t.Slots) + deep, float64(t.Slots-t.Spared) + part*deep}
	}
}
