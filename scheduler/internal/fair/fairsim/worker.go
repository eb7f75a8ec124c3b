package fairsim

import (
	"cmp"
	"math"
	"slices"

	"github.com/voicemill/voicemill/job"
)

// What a worker is set to, as package worker has it.
const (
	bulkShare   = 5    // every so many calls, bulk leads if any waits
	callSeconds = 240. // predicted audio of one call
	perCall     = 4    // so many calls' worth of segments are in hand at most for each
	company     = 0.05 // how long a segment waits for others while the engine is busy

	easeFor  = 60 // seconds that the smaller window stays after the last interactive segment
	patience = 30 // seconds that a segment may wait while longer ones go first
	fading   = 0.9
)

// worker is what packages consume and batch of a worker do between the bus and
// the engines.
type worker struct {
	eased   int        // calls at once while interactive work comes
	waiting []*Segment // in the order in which they came
	passed  int        // calls in a row that interactive led while bulk waited
	inHand  [2]int     // segments of each class
	ends    bool       // nothing waited behind what came last
	until   float64    // the smaller window stays

	items, seconds, took, beside float64 // of about the last ten calls
}

func (w *worker) arrive(now float64, g *Segment) {
	g.Arrived = now
	w.waiting = append(w.waiting, g)
	w.ends = g.last
	w.inHand[lane(g)]++
}

// lane returns in which of the two lines of a pool a segment waits.
func lane(g *Segment) int {
	if g.Job.Class == job.Interactive {
		return 0
	}
	return 1
}

// window returns how many calls may run before bulk work starts no more.
func (w *worker) window(now float64, p *Pool) int {
	if w.inHand[0] > 0 {
		w.until = now + easeFor
	}
	if now < w.until {
		return w.eased
	}
	return p.Calls
}

func (w *worker) done(now float64, g *Segment) {
	w.inHand[lane(g)]--
	if lane(g) == 0 {
		w.until = now + easeFor
	}
	f := math.Pow(fading, g.share)
	took := (now - g.started) * g.share
	w.items, w.seconds, w.took = f*w.items+1, f*w.seconds+g.Pred, f*w.took+took
	w.beside = f*w.beside + took*float64(g.beside)
}

// goodput returns predicted seconds of audio a second: of one call, times the
// calls that ran beside it.
func (w *worker) goodput() float64 {
	if w.took <= 0 {
		return 0
	}
	return w.seconds / w.took * w.beside / w.took
}

// most returns how many segments of a class are in hand at most: what calls take
// and half a second's more, or two calls' more where they have many segments.
func (w *worker) most(p *Pool, calls int) int {
	spare := 1
	if w.took > 0 {
		spare = max(spare, int(math.Ceil(w.items/w.took*w.beside/w.took/2)))
	}
	if p.Items > 1 {
		spare = max(spare, 2*p.Calls*p.Items)
	}
	return min(perCall*p.Calls*p.Items, calls*p.Items+spare)
}

// call forms the next engine call, as package batch decides.
func (w *worker) call(now float64, p *Pool) (call []*Segment, again float64) {
	if len(w.waiting) == 0 {
		return nil, 0
	}
	bulkFree := p.window - p.running
	turn := w.passed+1 >= bulkShare
	if turn {
		bulkFree = max(1, bulkFree)
	}
	lead := w.leader(turn)
	if lead == job.Bulk && bulkFree < 1 {
		return nil, 0
	}
	take, full := w.fill(now, p, lead)
	oldest := w.waiting[take[0]]
	if waited := now - oldest.Arrived; !full && p.running > 0 && waited < company {
		return nil, company - waited
	}
	return w.pick(take, lead), 0
}

// share returns what each call would have of what waits and runs, in predicted
// seconds, and whether that is little: the backlog ends.
func (w *worker) share(now float64, p *Pool) (share float64, ends bool) {
	waiting, running := 0.0, 0.0
	for _, g := range w.waiting {
		waiting += g.Pred
	}
	for _, b := range p.backends {
		if len(b.inside) == 0 || w.took == 0 {
			continue
		}
		sum := 0.0
		for _, g := range b.inside {
			sum += g.Pred
		}
		running += max(0, sum-(now-b.begun)*w.seconds/w.took)
	}
	share = (waiting + running) / float64(p.Calls)
	return share, share < 1.5*float64(p.Items)*waiting/float64(len(w.waiting))
}

func (w *worker) leader(bulkTurn bool) job.Class {
	var interactive, bulk bool
	for _, g := range w.waiting {
		if g.Job.Class == job.Interactive {
			interactive = true
		} else {
			bulk = true
		}
	}
	if !interactive || bulkTurn && bulk {
		return job.Bulk
	}
	return job.Interactive
}

// fill returns a call around the oldest segment of a class: those nearest to it
// in length. Bulk work fills a call of interactive work to a half if none of that is left.
// When a backlog ends, each call takes its share, and the longest segments go first.
func (w *worker) fill(now float64, p *Pool, lead job.Class) (take []int, full bool) {
	share, ends := callSeconds, false
	if w.ends && p.Items > 1 && p.Calls > 1 {
		share, ends = w.share(now, p)
	}
	is := func(g *Segment) bool { return g.Job.Class == lead }
	anchor := slices.IndexFunc(w.waiting, is)
	if ends && lead == job.Bulk && now-w.waiting[anchor].Arrived < patience {
		for i, g := range w.waiting {
			if is(g) && g.Pred > w.waiting[anchor].Pred {
				anchor = i
			}
		}
	}
	if take = []int{anchor}; p.Items == 1 {
		return take, true
	}
	want := w.waiting[anchor].Pred
	seconds := want
	add := func(class job.Class, most int) {
		for _, i := range w.nearest(class, anchor, want) {
			more := seconds + w.waiting[i].Pred
			if len(take) >= most || more > callSeconds || more > share && len(take) >= p.Items/4 {
				full = true
				return
			}
			take, seconds = append(take, i), more
		}
	}
	if add(lead, p.Items); lead == job.Bulk {
		add(job.Interactive, p.Items)
	} else if !full {
		add(job.Bulk, (p.Items+1)/2)
	}
	return take, full || len(take) == p.Items
}

// nearest returns what waits of a class beside the anchor, by how near it is in length.
func (w *worker) nearest(class job.Class, anchor int, want float64) (list []int) {
	for i, g := range w.waiting {
		if i != anchor && g.Job.Class == class {
			list = append(list, i)
		}
	}
	slices.SortFunc(list, func(a, b int) int {
		return cmp.Or(cmp.Compare(math.Abs(w.waiting[a].Pred-want), math.Abs(w.waiting[b].Pred-want)), a-b)
	})
	return list
}

func (w *worker) pick(take []int, lead job.Class) []*Segment {
	call := make([]*Segment, len(take))
	for i, at := range take {
		call[i] = w.waiting[at]
		w.waiting[at] = nil
	}
	w.waiting = slices.DeleteFunc(w.waiting, func(g *Segment) bool { return g == nil })
	bulkWaits := slices.ContainsFunc(w.waiting, func(g *Segment) bool { return g.Job.Class == job.Bulk })
	if lead == job.Interactive && bulkWaits {
		w.passed++
	} else {
		w.passed = 0
	}
	return call
}
