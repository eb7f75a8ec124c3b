package check

import "math"

const fullScale = -math.MinInt16

// measure fills everything of a Verdict that does not depend on the request. It
// reads the samples three times.
func measure(cfg Config, samples []int16, rate int) Verdict {
	if len(samples) == 0 || rate <= 0 {
		return Verdict{}
	}
	v := levels(samples)
	hz := float64(rate)
	v.Seconds = float64(len(samples)) / hz
	silence := int(cfg.SilenceLevel * fullScale)
	lead, pause, trail := gaps(samples, silence)
	v.Lead, v.Pause, v.Trail = float64(lead)/hz, float64(pause)/hz, float64(trail)/hz
	v.Repeated = repeated(samples, rate)
	return v
}

// levels measures what does not depend on the rate.
func levels(samples []int16) Verdict {
	var sum, square, next, clipped int64
	peak, before := 0, int64(samples[0])
	for i, s := range samples {
		x := int64(s)
		level := max(int(s), -int(s))
		sum += x
		square += x * x
		if i > 0 {
			next += x * before
		}
		before = x
		peak = max(peak, level)
		if level >= math.MaxInt16 {
			clipped++
		}
	}
	n := float64(len(samples))
	mean := float64(sum) / n
	v := Verdict{
		RMS: math.Sqrt(float64(square)/n) / fullScale, Peak: float64(peak) / fullScale,
		Clipped: float64(clipped) / n, Offset: mean / fullScale,
	}
	if spread := float64(square) - n*mean*mean; spread > 0 {
		v.Smooth = min(max((float64(next)-n*mean*mean)/spread, -1), 1)
	}
	return v
}

// gaps counts the samples before the first one over silence, of the longest gap
// within, and after the last. Without any sound all of them are before.
func gaps(samples []int16, silence int) (lead, longest, trail int) {
	gap, sounded := 0, false
	for _, s := range samples {
		if max(int(s), -int(s)) <= silence {
			gap++
			continue
		}
		if sounded {
			longest = max(longest, gap)
		} else {
			lead = gap
		}
		sounded, gap = true, 0
	}
	if !sounded {
		return gap, 0, 0
	}
	return lead, longest, gap
}
