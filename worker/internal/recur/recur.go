package recur

import "math"

// How stretches are compared. The figures were found with real voices, see docs/benchmarks.md.
const (
	maxHops  = 3000 // a minute; of what is longer the rest is not looked at
	leastLag = 15   // hops between a moment and its like: less is the same sound going on
	// What two moments are apart, by the root of the mean square, to be neither alike nor
	// unlike; two by chance are 1 apart.
	neutral = 0.6
	detour  = 0.4  // what it costs, in hops alike, to go on faster on one side
	paused  = -0.5 // how alike a pause and a sound are
)

// Stretch is audio that sounds like audio before it.
type Stretch struct {
	// Seconds are those that sound, by how much they are alike: as many as there are if the
	// samples are the same, and about half for another saying of the same words.
	Seconds    float64
	From, To   float64 // seconds of the first
	Again, End float64 // seconds of the second
}

// path is two stretches that go on together, from hops first and second.
type path struct {
	alike         float32 // hops
	first, second int32
}

// Find returns the stretch of mono samples at rate Hz that sounds most, and longest, like
// one before it. Seconds is 0 if there is nothing of the kind.
func Find(samples []int16, rate int) (most Stretch) {
	all := timbres(samples, rate)
	n := len(all)
	// Paths that end with a pair of hops, by the earlier one; of the later hop, and the two before.
	row, one, two := make([]path, n), make([]path, n), make([]path, n)
	var best path
	for j := leastLag; j < n; j++ {
		for i := range j - leastLag + 1 {
			p := path{0, int32(i), int32(j)} //nolint:gosec // at most maxHops
			if i > 0 {
				p = longer(p, one[i-1], 0)
				p = longer(p, two[i-1], detour)
			}
			if i > 1 {
				p = longer(p, one[i-2], detour)
			}
			p.alike = max(0, p.alike+likeness(&all[i], &all[j]))
			row[i] = p
			if p.alike > best.alike {
				best = p
				most.To, most.End = float64(i+1)*hopSeconds, float64(j+1)*hopSeconds
			}
		}
		row, one, two = two, row, one
	}
	most.Seconds = float64(best.alike) * hopSeconds
	most.From, most.Again = float64(best.first)*hopSeconds, float64(best.second)*hopSeconds
	return most
}

// Twice returns the seconds of mono samples at rate Hz that sound like what was before,
// beyond what the text that they say makes sound twice.
func Twice(samples []int16, rate int, text string) float64 {
	found := Find(samples, rate).Seconds
	if found == 0 {
		return 0
	}
	return max(0, found-Expect(text, float64(len(samples))/float64(rate)))
}

// longer returns p, or other at a cost if that is more.
func longer(p, other path, cost float32) path {
	if other.alike -= cost; other.alike > p.alike {
		return other
	}
	return p
}

// likeness returns 1 for two moments that are the same, 0 for neutral ones, and less for others.
func likeness(a, b *timbre) float32 {
	if !a.sounds || !b.sounds {
		if a.sounds == b.sounds {
			return 0
		}
		return paused
	}
	var sum float32
	for k := range a.of {
		d := a.of[k] - b.of[k]
		sum += d * d
	}
	return 1 - float32(math.Sqrt(float64(sum/(2*coefficients))))/neutral
}
