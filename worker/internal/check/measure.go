package check

import "math"

const fullScale = -math.MinInt16

// measure fills everything of a Verdict that does not depend on the request. It
// reads the samples once, and some of them twice.
func measure(cfg Config, samples []int16, rate int) Verdict {
	if len(samples) == 0 || rate <= 0 {
		return Verdict{}
	}
	hz := float64(rate)
	size := int(hopSeconds * hz)
	all, hops := sums(samples, max(size, minHop))
	v := all.levels(len(samples))
	v.Seconds = float64(len(samples)) / hz
	silence := int(cfg.SilenceLevel * fullScale)
	lead, pause, trail := gaps(samples, silence)
	v.Lead, v.Pause, v.Trail = float64(lead)/hz, float64(pause)/hz, float64(trail)/hz
	v.Repeated = repeated(envelope(hops, size))
	return v
}

// sum is what is added up over a passage.
type sum struct {
	samples, squares, clipped int64
	next                      int64 // products of neighbours, the first with the sample before it, if there is one
	change                    int64 // squares of the differences between neighbours within
	low, high                 int16
}

// sums adds up samples in hops of so many, and over all of them. What is left of a
// last hop is in the whole only, and hops beyond maxHops are.
func sums(samples []int16, size int) (all sum, hops []sum) {
	hops = make([]sum, 0, min(len(samples)/size, maxHops))
	before := int64(0)
	for from := 0; from < len(samples); from += size {
		part := samples[from:min(from+size, len(samples))]
		h := sumOf(part, before)
		before = int64(part[len(part)-1])
		all.samples += h.samples
		all.squares += h.squares
		all.clipped += h.clipped
		all.next += h.next
		all.low, all.high = min(all.low, h.low), max(all.high, h.high)
		if len(part) == size && len(hops) < maxHops {
			hops = append(hops, h)
		}
	}
	return all, hops
}

// sumOf adds up part, which follows the sample before. What it adds up is in variables
// of its own, since a compiler keeps no struct of so many fields in registers.
func sumOf(part []int16, before int64) sum {
	first, last, joint := int64(part[0]), int64(part[len(part)-1]), before
	var samples, squares, next int64
	var low, high int16
	for _, s := range part {
		x := int64(s)
		samples += x
		squares += x * x
		next += x * before
		before = x
		low, high = min(low, s), max(high, s)
	}
	h := sum{samples: samples, squares: squares, next: next, low: low, high: high}
	// Of the neighbours a and b of the passage, (a-b)² is a² + b² - 2ab.
	h.change = 2*squares - first*first - last*last - 2*(next-first*joint)
	if high == math.MaxInt16 || low <= -math.MaxInt16 {
		for _, s := range part {
			if s == math.MaxInt16 || s <= -math.MaxInt16 {
				h.clipped++
			}
		}
	}
	return h
}

// levels tells what n samples are like that s is of.
func (s sum) levels(n int) Verdict {
	count := float64(n)
	mean := float64(s.samples) / count
	v := Verdict{
		RMS: math.Sqrt(float64(s.squares)/count) / fullScale, Peak: float64(max(int(s.high), -int(s.low))) / fullScale,
		Clipped: float64(s.clipped) / count, Offset: mean / fullScale,
	}
	if spread := float64(s.squares) - count*mean*mean; spread > 0 {
		v.Smooth = min(max((float64(s.next)-count*mean*mean)/spread, -1), 1)
	}
	return v
}

// gaps counts the samples before the first one over silence, of the longest gap
// within, and after the last. Without any sound all of them are before. A gap that is
// longer than the longest so far has no sound where that would end: most samples are
// not looked at.
func gaps(samples []int16, silence int) (lead, longest, trail int) {
	sounds := func(i int) bool { return max(int(samples[i]), -int(samples[i])) > silence }
	for lead < len(samples) && !sounds(lead) {
		lead++
	}
	if lead == len(samples) {
		return lead, 0, 0
	}
	last := len(samples) - 1
	for !sounds(last) {
		last--
	}
	for at := lead; at < last; { // samples[at] and samples[last] sound
		next := min(at+longest+1, last)
		for next > at && !sounds(next) {
			next--
		}
		if next > at {
			at = next
			continue
		}
		for next = at + longest + 2; !sounds(next); {
			next++
		}
		longest, at = next-at-1, next
	}
	return lead, longest, len(samples) - 1 - last
}
