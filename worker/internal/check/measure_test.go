package check_test

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/voicemill/voicemill/worker/internal/check"
)

// plainly measures one thing after another, as it is defined.
func plainly(samples []int16, rate, silence int) (v check.Verdict) {
	n := float64(len(samples))
	var sum, square, next, clipped float64 // all of them integers that a float64 holds
	for i, s := range samples {
		x := float64(s)
		sum += x
		square += x * x
		if i > 0 {
			next += x * float64(samples[i-1])
		}
		if s == math.MaxInt16 || s <= -math.MaxInt16 {
			clipped++
		}
		v.Peak = max(v.Peak, math.Abs(x)/32768)
	}
	mean := sum / n
	v.RMS, v.Clipped, v.Offset = math.Sqrt(square/n)/32768, clipped/n, mean/32768
	if spread := square - n*mean*mean; spread > 0 {
		v.Smooth = min(max((next-n*mean*mean)/spread, -1), 1)
	}
	gap, longest, lead, sounded := 0, 0, 0, false
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
		lead, gap = gap, 0
	}
	hz := float64(rate)
	v.Seconds, v.Lead, v.Pause, v.Trail = n/hz, float64(lead)/hz, float64(longest)/hz, float64(gap)/hz
	return v
}

// bursts draws samples with sound and silence in them, some at full scale.
func bursts(t *rapid.T) (samples []int16) {
	for range rapid.IntRange(1, 12).Draw(t, "bursts") {
		level := rapid.SampledFrom([]int{0, 1, 30, 100, 3000, 32767}).Draw(t, "level")
		for _, s := range rapid.SliceOfN(rapid.IntRange(-level, level), 1, 300).Draw(t, "burst") {
			samples = append(samples, int16(s))
		}
		if rapid.Bool().Draw(t, "full") {
			samples = append(samples, math.MaxInt16, math.MinInt16, -math.MaxInt16)
		}
	}
	return samples
}

func TestWhatIsMeasuredIsWhatIsDefined(t *testing.T) {
	t.Parallel()
	cfg := check.Default()
	rapid.Check(t, func(t *rapid.T) {
		samples, rate := bursts(t), rapid.IntRange(1, 2000).Draw(t, "rate")
		got := check.Judge(cfg, samples, rate, cfg.Rough(0))
		want := plainly(samples, rate, int(cfg.SilenceLevel*32768))
		want.OK, want.Odd, want.Reason, want.Detail, want.Repeated = got.OK, got.Odd, got.Reason, got.Detail, got.Repeated
		if got != want {
			t.Fatalf("%+v; want %+v", got, want)
		}
	})
}

// TestTheLongestPauseIsFoundWhereverItIs has pauses that get longer, shorter, and none.
func TestTheLongestPauseIsFoundWhereverItIs(t *testing.T) {
	t.Parallel()
	for _, pauses := range [][]int{{1, 2, 3}, {3, 2, 1}, {0, 0}, {5, 5, 6, 1}, {7}} {
		samples, longest := []int16{9000}, 0
		for _, p := range pauses {
			samples = append(append(samples, make([]int16, p)...), -9000)
			longest = max(longest, p)
		}
		v := check.Judge(check.Default(), samples, 1, check.Default().Rough(0))
		require.InDelta(t, float64(longest), v.Pause, 0, "%v", pauses)
	}
}
