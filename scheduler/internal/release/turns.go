package release

import (
	"context"
	"fmt"
	"time"

	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/platform/bus"
	"github.com/voicemill/voicemill/scheduler/internal/fair"
	"github.com/voicemill/voicemill/scheduler/internal/store"
)

// joinCost is what a join, or an encoding in its own pool, costs of the audio that it handles.
const joinCost = 0.05

// turns asks package fair whose turn it is, in the words of the loop: what
// waits are entries, what is out are bundles and joins.
type turns struct {
	cfg     Config
	core    *fair.Core
	waiting map[job.ID]*entry
	keys    int64                    // handed out
	saved   map[fair.Clock]struct{}  // what was saved last
	reports map[string]fair.Capacity // the last of each worker and pool
}

func newTurns(cfg Config) *turns {
	return &turns{cfg: cfg, core: fair.New(fairConfig(cfg)), waiting: map[job.ID]*entry{}, saved: map[fair.Clock]struct{}{}, reports: map[string]fair.Capacity{}}
}

func fairConfig(cfg Config) fair.Config {
	c := fair.DefaultConfig()
	c.Silence = reportFor
	c.MaxJobs, c.JobsPerTenant = 2*max(cfg.Waiting, perTenant), 2*perTenant // the loop itself keeps to the half
	return c
}

// forget drops what waits and what is out, and keeps virtual times and reports.
func (t *turns) forget() {
	clocks := t.core.Snapshot()
	t.core, t.waiting = fair.New(fairConfig(t.cfg)), map[job.ID]*entry{}
	t.core.Restore(clocks)
	for key, r := range t.reports {
		if time.Since(r.At) > reportFor {
			delete(t.reports, key)
			continue
		}
		t.core.Report(r)
	}
}

// report takes in what a worker says that it takes.
func (t *turns) report(c bus.Capacity) {
	batch := max(1, c.Batch)
	r := fair.Capacity{
		Pool: c.Pool, Worker: c.Worker, Backends: max(1, c.Slots/batch), Slots: c.Slots, Spared: c.Spared, Rate: c.Goodput, MaxBatch: batch, Static: c.Static, At: time.Now(),
	}
	if c.Pool == bus.PoolAssemble || c.Pool == bus.PoolEncode {
		r.Static = true // so many at a time, whatever they cost
	}
	t.reports[c.Pool+"/"+c.Worker] = r
	t.core.Report(r)
}

// presume lets joins and encodings out while no worker says how many it takes.
func (t *turns) presume() {
	for _, pool := range []string{bus.PoolAssemble, bus.PoolEncode} {
		if t.core.Total(pool).Slots == 0 {
			t.core.Report(fair.Capacity{Pool: pool, Worker: "any", Backends: 1, Slots: t.cfg.Joins, MaxBatch: 1, Static: true, At: time.Now()})
		}
	}
}

// id names an entry in the core.
func (e *entry) id() job.ID {
	switch {
	case e.queue != nil:
		return job.ID(fmt.Sprintf("%s@%s", e.owner.ID, e.pool))
	case e.retry != nil:
		return job.ID(fmt.Sprintf("%s#%d", e.owner.ID, e.retry.N))
	default:
		return job.ID(fmt.Sprintf("%s.%d", e.owner.ID, e.join.Row))
	}
}

// left returns what an entry has waiting, as far as it is known.
func (e *entry) left() fair.Work {
	switch {
	case e.queue != nil:
		return fair.Work{Segments: max(1, e.queue.Total-e.queue.Next), Cost: max(e.queue.Seconds, 0.001)}
	case e.retry != nil:
		return fair.Work{Segments: 1, Cost: e.retry.Seconds}
	default:
		return fair.Work{Segments: 1, Cost: e.join.Seconds * joinCost}
	}
}

// add puts an entry in, or says anew what it has waiting.
func (t *turns) add(e *entry) {
	id := e.id()
	var deadline time.Time
	if e.owner.Deadline != nil {
		deadline = *e.owner.Deadline
	}
	t.waiting[id] = e
	t.core.Add(fair.Job{
		ID: id, Pool: e.pool, Tenant: e.tenant, Class: e.class, Weight: e.owner.Weight, Priority: e.owner.Priority, Deadline: deadline,
		Accepted: e.owner.AcceptedAt, Left: e.left(),
	})
}

// remove takes an entry out; one that is not there is none to remove.
func (t *turns) remove(e *entry) {
	delete(t.waiting, e.id())
	t.core.Remove(e.id())
}

// next returns the entry whose turn it is and how much it may let out. The turn
// is to be answered with took or declined.
func (t *turns) next() (*entry, limits, bool) {
	t.presume()
	for {
		turn, ok := t.core.Next(time.Now())
		if !ok {
			return nil, limits{}, false
		}
		e := t.waiting[turn.Job]
		if e == nil {
			t.core.Declined(turn.N)
			t.core.Remove(turn.Job)
			continue
		}
		e.turn = turn
		return e, limits{
			segments: min(turn.Limit.Segments, bus.MaxBundleSegments), seconds: min(turn.Limit.Cost, t.cfg.BundleSeconds), bytes: messageBytes,
		}, true
	}
}

// took says what an entry lets out in its turn. It returns the key under which
// that is out.
func (t *turns) took(e *entry, segments int, cost float64) fair.Key {
	t.keys++
	key := fair.Key{Job: e.owner.ID, N: t.keys}
	t.core.Released(e.turn.N, key, fair.Work{Segments: segments, Cost: cost}, fair.Work{})
	if e.queue != nil && t.waiting[e.id()] == e {
		t.add(e) // what is left is known better than by what went
	}
	return key
}

// declined says that nothing of an entry went out in its turn.
func (t *turns) declined(e *entry) { t.core.Declined(e.turn.N) }

// out notes a bundle that another let out and charged.
func (t *turns) out(b *bundle) {
	left := fair.Work{Segments: len(b.keys)}
	for i := range b.keys {
		left.Cost += float64(b.seconds[i])
	}
	b.key = t.adopt(b.owner, b.pool, left)
}

// joinOut is out for a join.
func (t *turns) joinOut(j *joining) {
	j.key = t.adopt(j.Owner, j.Pool(), fair.Work{Segments: 1, Cost: j.Seconds * joinCost})
}

func (t *turns) adopt(o store.Owner, pool string, left fair.Work) fair.Key {
	t.keys++
	key := fair.Key{Job: o.ID, N: t.keys}
	t.core.Adopt(fair.Bundle{Key: key, Pool: pool, Class: o.Class, Tenant: o.Tenant, Weight: o.Weight, Left: left})
	return key
}

// settle makes room for a segment that is through, and charges what it cost.
func (t *turns) settle(b *bundle, actual float64) { t.core.Done(b.key, 1, actual) }

// refund takes back a bundle that did not go out.
func (t *turns) refund(b *bundle) { t.core.Returned(b.key) }

// joined makes room for a join that is through.
func (t *turns) joined(j *joining) { t.core.Done(j.key, 1, j.Seconds*joinCost) }

// restore takes over the virtual times of the former leader.
func (t *turns) restore(ctx context.Context, s *store.Store) error {
	times, err := s.VirtualTimes(ctx)
	if err != nil {
		return err
	}
	clocks := make([]fair.Clock, len(times))
	for i, v := range times {
		clocks[i] = fair.Clock{Pool: v.Pool, Class: v.Class, Tenant: v.Tenant, Time: v.Value}
	}
	t.core.Restore(clocks)
	return nil
}

// times returns the virtual times that changed since it was called last.
func (t *turns) times() (list []store.VirtualTime) {
	now := t.core.Snapshot()
	saved := make(map[fair.Clock]struct{}, len(now))
	for _, c := range now {
		saved[c] = struct{}{}
		if _, same := t.saved[c]; !same && c.Time > 0 {
			list = append(list, store.VirtualTime{Pool: c.Pool, Class: c.Class, Tenant: c.Tenant, Value: c.Time})
		}
	}
	t.saved = saved
	return list
}
