package check_test

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/voicemill/voicemill/worker/internal/check"
)

const rate = 24000

// tone returns seconds of a 200 Hz tone with the given peak, of full scale 1.
func tone(seconds, peak float64) []int16 {
	out := make([]int16, int(seconds*rate))
	for i := range out {
		x := peak * 32768 * math.Sin(2*math.Pi*200*float64(i)/rate)
		out[i] = int16(min(max(x, -32768), 32767))
	}
	return out
}

// noise returns seconds of samples that have nothing to do with each other.
func noise(seconds float64) []int16 {
	r := rand.New(rand.NewPCG(1, 2)) //nolint:gosec // the same each time
	out := make([]int16, int(seconds*rate))
	for i := range out {
		out[i] = int16(r.IntN(20000) - 10000) //nolint:gosec // it fits
	}
	return out
}

func lift(samples []int16, by int16) []int16 {
	for i := range samples {
		samples[i] += by
	}
	return samples
}

func silence(seconds float64) []int16 { return make([]int16, int(seconds*rate)) }

func TestJudge(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		samples   []int16
		predicted float64
		want      check.Reason
	}{
		"as predicted":                         {tone(5, .5), 5, check.Good},
		"no prediction":                        {tone(5, .5), 0, check.Good},
		"a third less one hundredth":           {tone(3.2, .5), 10, check.TooShort},
		"a third and one hundredth":            {tone(3.4, .5), 10, check.Good},
		"three times and one hundredth":        {tone(15.1, .5), 5, check.TooLong},
		"three times less one hundredth":       {tone(14.9, .5), 5, check.Good},
		"a short word that takes its time":     {tone(1.7, .5), .3, check.Good},
		"a short word that takes far too much": {tone(1.9, .5), .3, check.TooLong},
		"a short word that is very short":      {tone(.1, .5), 1.5, check.Good},
		"no samples":                           {nil, 5, check.Empty},
		"digital silence":                      {silence(5), 5, check.Silent},
		"hardly any sound":                     {tone(5, .0015), 5, check.Silent},
		"one click in silence":                 {slices.Concat(silence(5), tone(.001, .05), silence(5)), 10, check.Silent},
		"quiet speech":                         {tone(5, .01), 5, check.Good},
		"six seconds of silence within":        {slices.Concat(tone(3, .5), silence(6), tone(3, .5)), 9, check.LongPause},
		"noise under the level counts":         {slices.Concat(tone(3, .5), tone(6, .001), tone(3, .5)), 9, check.LongPause},
		"four seconds of silence within":       {slices.Concat(tone(3, .5), silence(4), tone(3, .5)), 9, check.Good},
		"silence before and after":             {slices.Concat(silence(6), tone(3, .5), silence(6)), 4, check.Good},
		"silence does not lengthen speech":     {slices.Concat(tone(3, .5), silence(6)), 10, check.TooShort},
		"nine seconds of silence before":       {slices.Concat(silence(9), tone(3, .5)), 4, check.LongEdge},
		"nine seconds of silence after":        {slices.Concat(tone(3, .5), silence(9)), 4, check.LongEdge},
		"noise":                                {noise(5), 5, check.Noise},
		"an offset":                            {lift(tone(5, .3), 2000), 5, check.Offset},
		"distorted":                            {tone(5, 3), 5, check.Clipped},
		"one sample at full scale":             {append(tone(5, .5), math.MinInt16), 5, check.Good},
		"silence is named before the length":   {silence(50), 5, check.Silent},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := check.Judge(check.Default(), c.samples, rate, check.Default().Rough(c.predicted))
			require.Equalf(t, c.want, got.Reason, "%+v", got)
			require.Equal(t, c.want == check.Good, got.OK)
			require.Equal(t, c.want != check.Good, got.Detail != "")
		})
	}
}

func TestJudgeMeasures(t *testing.T) {
	t.Parallel()
	v := check.Judge(check.Default(), slices.Concat(tone(1, .5), silence(.5), tone(1, .5)), rate, check.Default().Rough(0))
	require.InDelta(t, 2.5, v.Seconds, 1e-9)
	require.InDelta(t, .5, v.Peak, 1e-3)
	require.InDelta(t, math.Sqrt(.5*.5/2*2/2.5), v.RMS, 1e-3)
	require.InDelta(t, .5, v.Pause, 1e-3)
	require.Zero(t, v.Clipped)
}

func TestJudgeNeverPanicsAndIsConsistent(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		samples := rapid.SliceOfN(rapid.Int16(), 0, 500).Draw(t, "samples")
		v := check.Judge(check.Default(), samples, rapid.IntRange(-1, 48000).Draw(t, "rate"), check.Default().Rough(rapid.Float64().Draw(t, "predicted")))
		if v.OK != (v.Reason == check.Good) || v.RMS > v.Peak+1e-9 || v.Peak > 1 || v.Clipped > 1 || v.Pause > v.Seconds || v.Lead+v.Trail > v.Seconds+1e-9 {
			t.Fatalf("%+v", v)
		}
	})
}

func TestValidateNamesBothValues(t *testing.T) {
	t.Parallel()
	require.NoError(t, check.Default().Validate())
	for name, change := range map[string]func(*check.Config){
		"ratio 2 to 3":   func(c *check.Config) { c.MinRatio = 2 },
		"negative slack": func(c *check.Config) { c.Slack = -1 },
		"level over 1":   func(c *check.Config) { c.MinRMS = 2 },
		"no pause":       func(c *check.Config) { c.MaxSilence = 0 },
		"not a number":   func(c *check.Config) { c.MaxClipped = math.NaN() },
	} {
		cfg := check.Default()
		change(&cfg)
		require.Error(t, cfg.Validate(), name)
	}
}

func BenchmarkJudge(b *testing.B) {
	samples := tone(15, .5)
	b.ReportAllocs()
	for b.Loop() {
		check.Judge(check.Default(), samples, rate, check.Default().Rough(15))
	}
	b.ReportMetric(15*float64(b.N)/b.Elapsed().Seconds(), "x-realtime")
}
