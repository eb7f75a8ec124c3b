package release

import (
	"cmp"
	"slices"

	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/scheduler/internal/store"
)

// askLots bounds how many lots one Next asks to be filled.
const askLots = 64

// Next picks segments that go out now, as many as rooms allow, in the order in
// which they are to be published, and takes the room they need. Lots that must
// be filled before it can go on are in ask; while ask is not empty the caller
// fills them and calls Next again. It conserves work: it stops only when the
// room is used up, the queue is empty, or it has to ask.
func (q *Queue) Next(rooms map[Lane]*Room) (picks []store.Segment, ask []store.Lot) {
	for _, pool := range q.pools() {
		closed := map[job.Class]bool{}
		for {
			at, ok := q.choose(pool, rooms, closed)
			if !ok {
				break
			}
			bundle, hungry := q.bundle(at, rooms[at])
			if hungry {
				ask = append(ask, q.hungry(at, askLots-len(ask))...)
			}
			if len(bundle) == 0 {
				closed[at.Class] = true
			}
			picks = append(picks, bundle...)
		}
	}
	return picks, ask
}

// pools returns the pools that have work waiting, sorted.
func (q *Queue) pools() []string {
	var names []string
	for at := range q.lanes {
		names = append(names, at.Pool)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// choose returns the lane of pool that goes next: interactive, until it is a
// bundle ahead of its share while bulk work waits. A lane that is ahead still
// gets a turn when nothing of it is out, so bulk work that hangs cannot hold it.
func (q *Queue) choose(pool string, rooms map[Lane]*Room, closed map[job.Class]bool) (Lane, bool) {
	interactive, bulk := Lane{pool, job.Interactive}, Lane{pool, job.Bulk}
	open := func(at Lane) bool {
		room := rooms[at]
		return q.lanes[at] != nil && room != nil && room.Segments > 0 && (room.Floor > 0 || room.Seconds > 0) && !closed[at.Class]
	}
	bulkWaits := q.lanes[bulk] != nil
	if !bulkWaits {
		q.lead[pool] = 0
	}
	switch ahead := q.lead[pool] >= q.cfg.BundleSeconds*q.cfg.InteractiveShare; {
	case open(interactive) && (!bulkWaits || !ahead):
		return interactive, true
	case open(bulk):
		return bulk, true
	case open(interactive) && rooms[interactive].Idle:
		return interactive, true
	}
	return Lane{}, false
}

// bundle takes one turn of the tenant that was served least: up to a bundle of
// segments of its first job. hungry means that the lot has to be filled first.
func (q *Queue) bundle(at Lane, room *Room) (picks []store.Segment, hungry bool) {
	tenant := q.leastServed(at)
	tq := q.lanes[at].tenants[tenant]
	g := tq.lots[0]
	if len(g.buffer) == 0 {
		return nil, true
	}
	total := 0.0
	for len(g.buffer) > 0 && len(picks) < q.cfg.BundleSegments {
		next := g.buffer[0]
		if !room.fits(next.Seconds) || len(picks) > 0 && total+next.Seconds > q.cfg.BundleSeconds {
			break
		}
		room.take(next.Seconds)
		total += next.Seconds
		picks, g.buffer = append(picks, next), g.buffer[1:]
	}
	ledger := tq.ledger
	if len(g.buffer) == 0 && g.last {
		q.drop(g)
	}
	ledger.vtime += total / ledger.weight
	share := q.cfg.InteractiveShare
	if at.Class == job.Interactive {
		q.lead[at.Pool] += total * (1 - share)
	} else {
		q.lead[at.Pool] = max(-q.cfg.BundleSeconds, q.lead[at.Pool]-total*share)
	}
	return picks, false
}

func (q *Queue) leastServed(at Lane) job.Tenant {
	var best job.Tenant
	var least *ledger
	for tenant, tq := range q.lanes[at].tenants {
		if least == nil || tq.ledger.vtime < least.vtime || tq.ledger.vtime == least.vtime && tenant < best {
			best, least = tenant, tq.ledger
		}
	}
	return best
}

// hungry lists empty lots of a lane, at most limit, those that come first in
// their tenant's order and of the tenants that were served least.
func (q *Queue) hungry(at Lane, limit int) []store.Lot {
	type candidate struct {
		lot   store.Lot
		place int
		vtime float64
	}
	var all []candidate
	for _, tq := range q.lanes[at].tenants {
		for place, g := range tq.lots[:min(len(tq.lots), askLots)] {
			if len(g.buffer) == 0 {
				all = append(all, candidate{store.Lot{JobID: g.job.ID, Pool: g.pool}, place, tq.ledger.vtime})
			}
		}
	}
	slices.SortFunc(all, func(a, b candidate) int {
		return cmp.Or(cmp.Compare(a.place, b.place), cmp.Compare(a.vtime, b.vtime), cmp.Compare(a.lot.JobID, b.lot.JobID))
	})
	var out []store.Lot
	for _, c := range all[:max(0, min(len(all), limit))] {
		out = append(out, c.lot)
	}
	return out
}
