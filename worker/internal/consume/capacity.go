package consume

import "time"

// Capacity is what a pool can take now.
type Capacity struct {
	Slots   int     // segments at a time; 0 while what it needs is away
	Batch   int     // segments of one call at most
	Goodput float64 // predicted seconds of audio that it makes a second when it is busy; 0 while unknown
}

// Capacity returns what p can take now.
func (p *Pool) Capacity() Capacity {
	p.mu.Lock()
	defer p.mu.Unlock()
	c := Capacity{Slots: p.cfg.Calls * p.cfg.Batch.Items, Batch: p.cfg.Batch.Items, Goodput: p.pace.perCall() * float64(p.cfg.Calls)}
	if open, _ := p.circuit.open(time.Now()); open {
		c.Slots = 0
	}
	return c
}

// fading is the weight of all calls before the last one.
const fading = 0.9

// pace is how fast calls are: that of about the last ten.
type pace struct{ seconds, took float64 }

func (p *pace) add(seconds float64, took time.Duration) {
	p.seconds, p.took = fading*p.seconds+seconds, fading*p.took+took.Seconds()
}

// perCall returns the predicted seconds of audio that one call makes a second.
func (p *pace) perCall() float64 {
	if p.took <= 0 {
		return 0
	}
	return p.seconds / p.took
}
