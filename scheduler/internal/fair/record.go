package fair

import "slices"

// Record remembers how the last forecasts of a class turned out, and so how far
// from the truth the next one may be. The zero value knows of none.
type Record struct {
	outcomes []outcome
	next     int
}

type outcome struct{ forecast, ratio float64 } // what was forecast, and what came of it

const (
	remembered = 400  // outcomes
	enough     = 20   // to go by
	alike      = 4.0  // forecasts of so many times as long, or as short, err alike
	tail       = 0.09 // of outcomes that may lie below an interval, and as many above it
	margin     = 0.15 // of the middle: what is ahead may err otherwise than what was
	slack      = 0.5  // second: about what a segment in an engine has left

	usualLow, usualHigh = 0.85, 1.35 // while too few jobs have ended
	leastLow, mostHigh  = 0.3, 4.0   // whatever has happened
)

// Add takes in how long a job took from a forecast on, in seconds.
func (r *Record) Add(forecast, took float64) {
	if forecast < slack || took < 0 {
		return // what was as good as over says nothing
	}
	o := outcome{forecast, min(mostHigh, max(leastLow, took/forecast))}
	if len(r.outcomes) < remembered {
		r.outcomes = append(r.outcomes, o)
		return
	}
	r.outcomes[r.next] = o
	r.next = (r.next + 1) % remembered
}

// Interval returns between what a job takes of which a forecast says seconds, in
// about five of six cases, and what it takes in the middle of them.
func (r *Record) Interval(seconds float64) (low, middle, high float64) {
	ratios := r.like(seconds)
	if len(ratios) < enough {
		return max(0, usualLow*seconds-slack), seconds, usualHigh*seconds + slack
	}
	at := func(part float64) float64 { return ratios[int(part*float64(len(ratios)-1)+0.5)] }
	middle = at(0.5)
	low, high = min(at(tail), middle*(1-margin)), max(at(1-tail), middle*(1+margin))
	return max(0, low*seconds-slack), middle * seconds, high*seconds + slack
}

// like returns the ratios of forecasts of about so many seconds, in order; of all
// if there are few of those.
func (r *Record) like(seconds float64) []float64 {
	var near, all []float64
	for _, o := range r.outcomes {
		all = append(all, o.ratio)
		if o.forecast < alike*seconds && seconds < alike*o.forecast {
			near = append(near, o.ratio)
		}
	}
	if len(near) < enough {
		near = all
	}
	slices.Sort(near)
	return near
}
