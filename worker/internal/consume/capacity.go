package consume

import (
	"cmp"
	"math"
	"time"
)

// Capacity is what a pool can take now.
type Capacity struct {
	Slots   int     // segments at a time; 0 while what it needs is away
	Spared  int     // of these, what bulk work does not get while interactive work comes
	Batch   int     // segments of one call at most
	Goodput float64 // predicted seconds of audio that it makes a second when it is busy; 0 while unknown
}

// Capacity returns what p can take now.
func (p *Pool) Capacity() Capacity {
	ready, _ := p.deps.Engines.Ready()
	p.mu.Lock()
	defer p.mu.Unlock()
	now, items := time.Now(), p.cfg.Batch.Items
	c := Capacity{Slots: p.most * items, Spared: p.spared(now) * items, Batch: items, Goodput: p.pace.goodput()}
	if open, _ := p.circuit.open(now); open || !ready {
		c.Slots, c.Spared = 0, 0
	}
	return c
}

// spared returns how many calls bulk work leaves unused: some while interactive
// segments are in hand and for EaseFor after the last. A segment takes longer the
// more an engine has at once, and whoever speaks now will soon speak again. It is
// called under mu.
func (p *Pool) spared(now time.Time) int {
	if p.lanes[0].inHand > 0 {
		p.easy = now.Add(p.cfg.EaseFor)
	}
	if !now.Before(p.easy) {
		return 0
	}
	return p.most - p.eased
}

// fit takes as many calls as the engines should have at once now.
func (p *Pool) fit() {
	if !p.cfg.Adapt {
		return
	}
	room := p.deps.Engines.Room()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.most = min(max(1, room.All), p.cfg.Calls)
	p.eased = min(max(1, cmp.Or(p.cfg.Eased, room.Eased)), p.most)
}

// fading is the weight of all calls before the last one.
const fading = 0.9

// pace is how fast calls are: that of about the last ten.
type pace struct {
	items, seconds, took float64
	beside               float64 // calls that ran, by time
}

// add takes in a call and how many ran with it, itself included.
func (p *pace) add(items int, seconds float64, took time.Duration, calls int) {
	p.items = fading*p.items + float64(items)
	p.seconds, p.took = fading*p.seconds+seconds, fading*p.took+took.Seconds()
	p.beside = fading*p.beside + took.Seconds()*float64(calls)
}

// perCall returns the predicted seconds of audio that one call makes a second.
func (p *pace) perCall() float64 {
	if p.took <= 0 {
		return 0
	}
	return p.seconds / p.took
}

// goodput returns what all calls make that run at once.
func (p *pace) goodput() float64 {
	if p.took <= 0 {
		return 0
	}
	return p.perCall() * p.beside / p.took
}

// spareFor is for how long the segments last that wait here for a call.
const spareFor = 500 * time.Millisecond

// wanted returns how many more segments of a lane are of use: what its calls take,
// and some that wait. What is more, another worker may begin sooner. Where calls
// have many segments, more wait, so that those of like length find each other. The
// owner calls it under mu.
func (p *Pool) wanted(now time.Time, l *lane) int {
	calls, i := p.most, 0
	if l == p.lanes[1] {
		calls, i = calls-p.spared(now), 1
	}
	spare := 1
	if t := p.pace.took; t > 0 {
		spare = max(spare, int(math.Ceil(p.pace.items/t*p.pace.beside/t*spareFor.Seconds())))
	}
	if p.cfg.Batch.Items > 1 {
		spare = max(spare, 2*p.most*p.cfg.Batch.Items)
	}
	have := 0
	for c := range p.running {
		have += c.items[i]
	}
	for _, it := range p.waiting {
		if p.laneOf(it) == i {
			have++
		}
	}
	return calls*p.cfg.Batch.Items + spare - have
}

func (p *Pool) laneOf(it *Item) int {
	if it.Bundle.Class == p.lanes[0].class {
		return 0
	}
	return 1
}

// running is a call that keeps the engine busy.
type running struct {
	begun   time.Time
	seconds float64 // predicted audio
	items   [2]int  // by lane
	calls   int     // that ran beside it at most, itself included
}

// left returns the predicted audio that calls still have, as far as their pace tells.
func (p *Pool) left(now time.Time) (sum float64) {
	each := p.pace.perCall()
	if each == 0 {
		return 0
	}
	for c := range p.running {
		sum += max(0, c.seconds-each*now.Sub(c.begun).Seconds())
	}
	return sum
}
