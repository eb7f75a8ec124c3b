package loudness

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// plainPeak looks at every point, and passes none over.
func plainPeak(samples []int16) (highest float64) {
	x := make([]float64, branchTaps-1, len(samples)+2*branchTaps)
	for _, s := range samples {
		x = append(x, float64(s)/fullScale)
		highest = max(highest, math.Abs(float64(s)/fullScale))
	}
	x = append(x, make([]float64, branchTaps)...)
	for i := 0; i+branchTaps <= len(x); i++ {
		highest = max(highest, Between(x[i:i+branchTaps]))
	}
	return highest
}

// sounds draws samples that are smooth, noisy, or at full scale, in passages.
func sounds(t *rapid.T) (samples []int16) {
	for range rapid.IntRange(1, 8).Draw(t, "passages") {
		n, level := rapid.IntRange(1, 400).Draw(t, "n"), rapid.Float64Range(0, 32767).Draw(t, "level")
		switch rapid.IntRange(0, 3).Draw(t, "kind") {
		case 0:
			hz, phase := rapid.Float64Range(0, .5).Draw(t, "cycles a sample"), rapid.Float64Range(0, 6).Draw(t, "phase")
			for i := range n {
				samples = append(samples, int16(level*math.Sin(2*math.Pi*hz*float64(i)+phase)))
			}
		case 1:
			rng := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 1))
			for range n {
				samples = append(samples, int16(level*(2*rng.Float64()-1)))
			}
		case 2:
			for i := range n {
				samples = append(samples, []int16{math.MaxInt16, math.MinInt16}[i/3%2])
			}
		default:
			samples = append(samples, make([]int16, n)...)
		}
	}
	return samples
}

// TestNoPeakIsPassedOver: what is passed over must not have been the highest.
func TestNoPeakIsPassedOver(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		samples := sounds(t)
		var p truePeak
		w := newWeighting(24000)
		for rest := samples; len(rest) > 0; {
			n := rapid.IntRange(1, len(rest)).Draw(t, "piece")
			of := w.weigh(rest[:n], 1, 0)
			p.write(rest[:n], 1, of.peak(), of.bend)
			rest = rest[n:]
		}
		if got, want := p.end(), plainPeak(samples); got != want {
			t.Fatalf("%v; want %v", got, want)
		}
	})
}

// TestTheBulgeBoundsEveryPoint has the samples that bend most and the point farthest
// off the line between its neighbours.
func TestTheBulgeBoundsEveryPoint(t *testing.T) {
	t.Parallel()
	require.Less(t, bulge, .5)
	rapid.Check(t, func(t *rapid.T) {
		samples := rapid.SliceOfN(rapid.Int16(), branchTaps, branchTaps).Draw(t, "samples")
		x := make([]float64, branchTaps)
		for i, s := range samples {
			x[i] = float64(s)
		}
		beside := float64(max(abs(samples[branchTaps/2-1]), abs(samples[branchTaps/2])))
		if got, most := Between(x), beside+bulge*float64(bend(samples)); got > most+1e-6 {
			t.Fatalf("%v; at most %v", got, most)
		}
	})
}

// weighedBefore is the weighting as BS.1770 has it: one biquad, then the other.
func weighedBefore(samples []int16, rate int) (sum float64) {
	w := newWeighting(rate)
	s, a1, a2 := w.shelf, w.pass.a1, w.pass.a2
	var x1, x2, u1, u2, y1, y2 float64
	for _, sample := range samples {
		x := float64(sample) / fullScale
		u := s.b0*x + s.b1*x1 + s.b2*x2 - s.a1*u1 - s.a2*u2
		y := u - 2*u1 + u2 - a1*y1 - a2*y2
		sum += y * y
		x1, x2, u1, u2, y1, y2 = x, x1, u, u1, y, y1
	}
	return sum
}

// TestTheOrderOfTheStagesDoesNotMatter: to less than a millionth of a dB.
func TestTheOrderOfTheStagesDoesNotMatter(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		rate := rapid.SampledFrom([]int{8000, 22050, 24000, 48000, 192000}).Draw(t, "rate")
		samples := sounds(t)
		w := newWeighting(rate)
		got, want := w.weigh(samples, 1, 0).weighted*w.scale(), weighedBefore(samples, rate)
		if math.Abs(got-want) > 2e-7*want+1e-12 {
			t.Fatalf("%v; want %v", got, want)
		}
	})
}

// TestDigitalSilenceEndsTheFilters: what falls for ever comes to numbers that take a
// processor a hundred times as long.
func TestDigitalSilenceEndsTheFilters(t *testing.T) {
	t.Parallel()
	for _, rate := range []int{8000, 24000, 192000} {
		w := newWeighting(rate)
		w.weigh([]int16{math.MaxInt16, math.MinInt16, 1000}, 1, 0)
		silence := make([]int16, rate/edgesASecond)
		for range edgesASecond {
			w.weigh(silence, 1, 0)
			for _, x := range []float64{w.u1, w.u2, w.y1, w.y2} {
				require.False(t, x != 0 && math.Abs(x) < 0x1p-1022, "%v at %d Hz", x, rate)
			}
		}
		require.Equal(t, [4]float64{}, [4]float64{w.u1, w.u2, w.y1, w.y2}, "%d Hz", rate)
	}
}

func BenchmarkTones(b *testing.B) { // as loud as the loudest, as a simulated engine has them
	x := make([]int16, 10*24000)
	for i := range x {
		x[i] = int16(9000 * (math.Sin(float64(i)*.06) + .4*math.Sin(float64(i)*.12)))
	}
	for b.Loop() {
		Of(x, 24000)
	}
}
