package check

import (
	"math"
	"strings"
	"unicode"
)

// The envelope that stretches are compared by: short enough to tell syllables apart,
// long enough that half a minute of speech is compared with itself in a few
// milliseconds. The limits were found with real engines, see docs/benchmarks.md.
const (
	hopSeconds = 0.04
	leastLag   = 6    // hops between a stretch and its repeat
	stretch    = 20   // hops that are compared together
	maxApart   = 0.45 // mean distance, in nepers of level and of brightness: what is nearer is the same
	leastMoves = 0.12 // least mean change of level from hop to hop within a stretch: a hum repeats nothing
	maxHops    = 1500 // a minute; what is longer is compared for its first minute
)

// hop is how loud and how bright a moment is, as natural logarithms.
type hop struct{ level, bright float64 }

// minHop is the fewest samples that a hop has.
const minHop = 2

// envelope describes hops, of so many samples each, over twice their length.
func envelope(sums []sum, size int) []hop {
	if size < minHop {
		return nil
	}
	// What is 50 dB under full scale counts as equally quiet.
	floor := float64(size) * fullScale * fullScale * 1e-5
	hops := make([]hop, max(len(sums)-1, 0))
	for i := range hops {
		a, b := sums[i], sums[i+1]
		l, d := float64(a.squares)+float64(b.squares)+floor, float64(a.change)+float64(b.change)+floor
		hops[i] = hop{level: math.Log(l) / 2, bright: math.Log(d/l) / 2}
	}
	return hops
}

// repeated returns the seconds of the longest stretch of hops that sounds again
// later, 0 if there is none of at least 20 hops.
func repeated(hops []hop) float64 {
	moves := make([]float64, len(hops)+1) // moves[i]: sum of the changes before i
	for i := 1; i < len(hops); i++ {
		moves[i+1] = moves[i] + math.Abs(hops[i].level-hops[i-1].level)
	}
	longest, distances := 0, make([]float64, len(hops))
	for lag := leastLag; lag+stretch <= len(hops); lag++ {
		longest = max(longest, alike(hops, moves, lag, distances))
	}
	if longest == 0 {
		return 0
	}
	return float64(longest+stretch-1) * hopSeconds
}

// alike returns how many stretches in a row resemble those lag hops later, at most.
// distances is room for one a hop.
func alike(hops []hop, moves []float64, lag int, distances []float64) int {
	sum, run, longest := 0.0, 0, 0
	for i, later := range hops[lag:] {
		d := apart(hops[i], later)
		distances[i] = d
		sum += d
		from := i - stretch + 1
		if from < 0 {
			continue
		}
		if from > 0 {
			sum -= distances[from-1]
		}
		if sum > maxApart*stretch || moves[i+1]-moves[from] < leastMoves*stretch {
			run = 0
			continue
		}
		run++
		longest = max(longest, run)
	}
	return longest
}

func apart(a, b hop) float64 { return math.Abs(a.level-b.level) + math.Abs(a.bright-b.bright) }

// shingle is how many bytes in a row, of letters and digits only, a text must have
// twice to repeat itself: some 0.7 s of speech in Latin letters.
const shingle = 10

// Repeats reports whether text says something twice by itself, so that its audio may.
func Repeats(text string) bool {
	var b strings.Builder
	for _, r := range strings.ToLower(text) {
		if unicode.IsLetter(r) || unicode.IsDigit(r) {
			b.WriteRune(r)
		}
	}
	letters := b.String()
	seen := map[string]bool{}
	for i := 0; i+shingle <= len(letters); i++ {
		s := letters[i : i+shingle]
		if seen[s] {
			return true
		}
		seen[s] = true
	}
	return false
}
