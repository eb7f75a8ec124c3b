package level_test

import (
	"bytes"
	"encoding/binary"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/platform/wav"
	"github.com/voicemill/voicemill/worker/internal/level"
	"github.com/voicemill/voicemill/worker/internal/loudness"
)

const rate = 24000

func measure(samples []int16) loudness.Figures {
	m := loudness.NewMeter(rate, 1)
	m.Write(samples)
	return m.Figures()
}

// through returns what a writer makes of samples.
func through(t require.TestingT, samples []int16, gain, ceiling float64) []int16 {
	var out bytes.Buffer
	w := level.NewWriter(&out, rate, ceiling)
	w.Gain(gain)
	_, err := w.Write(wav.AppendSamples(nil, samples))
	require.NoError(t, err)
	require.NoError(t, w.Close())
	return decode(out.Bytes())
}

func decode(b []byte) []int16 {
	out := make([]int16, len(b)/2)
	for i := range out {
		out[i] = int16(binary.LittleEndian.Uint16(b[2*i:]))
	}
	return out
}

// speech is bursts of harmonics with single peaks far above the rest.
func speech(seconds, peak float64, seed uint64) []int16 {
	r := rand.New(rand.NewPCG(seed, 1))
	out := make([]int16, int(seconds*rate))
	for i := range out {
		at := float64(i) / rate
		x := .25 * max(0, math.Sin(2*math.Pi*3*at)) * (math.Sin(2*math.Pi*150*at) + .5*math.Sin(2*math.Pi*450*at) + .3*r.NormFloat64())
		if i%7000 < 40 {
			x *= 3
		}
		out[i] = int16(32767 * peak * max(-1, min(1, x)))
	}
	return out
}

func TestWhatIsUnderTheCeilingKeepsEverySample(t *testing.T) {
	t.Parallel()
	x := speech(2, .3, 1)
	require.Equal(t, x, through(t, x, 0, -3))
}

func TestPeaksStayUnderTheCeiling(t *testing.T) {
	t.Parallel()
	for _, gain := range []float64{0, 6, 20} {
		x := speech(5, .9, 2)
		y := through(t, x, gain, -4)
		require.Len(t, y, len(x))
		require.LessOrEqual(t, measure(y).TruePeak, -4+.1, "%v dB", gain)
	}
}

// TestALoneClickMovesNothing has one sample too high: it stays where it is, the
// gain is back soon after it, and what is far away is untouched.
func TestALoneClickMovesNothing(t *testing.T) {
	t.Parallel()
	x := make([]int16, rate)
	for i := range x {
		x[i] = 1000
	}
	x[rate/2] = 32000
	y := through(t, x, 0, -6)
	require.Equal(t, x[:rate/2-200], y[:rate/2-200])
	highest := 0
	for i, v := range y {
		if v > y[highest] {
			highest = i
		}
	}
	require.Equal(t, rate/2, highest)
	require.InDelta(t, 1000, y[len(y)-1], 3)
}

func TestNothingIsAddedOrLostHoweverItIsCut(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		x := rapid.SliceOfN(rapid.Int16(), 0, 2000).Draw(t, "samples")
		gain := rapid.Float64Range(-20, 20).Draw(t, "gain")
		var out bytes.Buffer
		w := level.NewWriter(&out, rate, -3)
		w.Gain(gain)
		for b := wav.AppendSamples(nil, x); len(b) > 0; {
			n := rapid.IntRange(1, len(b)).Draw(t, "piece")
			_, err := w.Write(b[:n])
			require.NoError(t, err)
			b = b[n:]
		}
		require.NoError(t, w.Close())
		require.Equal(t, through(t, x, gain, -3), append([]int16{}, decode(out.Bytes())...))
		require.Equal(t, len(x)*2, out.Len())
		require.LessOrEqual(t, measure(decode(out.Bytes())).Peak, -2.9)
	})
}

func TestHalfASampleIsAnError(t *testing.T) {
	t.Parallel()
	w := level.NewWriter(&bytes.Buffer{}, rate, -3)
	_, err := w.Write([]byte{1, 2, 3})
	require.NoError(t, err)
	require.Error(t, w.Close())
}

// TestAChapterOfThreeVoicesConforms joins segments of very different levels as a
// chapter is joined, and measures all figures.
func TestAChapterOfThreeVoicesConforms(t *testing.T) {
	t.Parallel()
	target, ok := level.TargetOf(job.LoudnessACX)
	require.True(t, ok)
	var mix level.Mix
	var sounds []level.Sound
	var parts [][]int16
	total := int64((target.Lead + target.TailMin) * rate)
	for i := range 9 {
		x := speech(4, []float64{.05, .3, .95}[i%3], uint64(i))
		f := measure(x)
		parts, sounds = append(parts, x), append(sounds, level.Sound{LUFS: f.LUFS, RMS: f.RMS})
		mix.Add(sounds[i], f.Samples)
		total += f.Samples
	}
	lufs := mix.LUFS(target, total)
	var out bytes.Buffer
	w := level.NewWriter(&out, rate, target.Ceiling)
	write := func(x []int16, gain float64) {
		w.Gain(gain)
		_, err := w.Write(wav.AppendSamples(nil, x))
		require.NoError(t, err)
	}
	write(make([]int16, int(target.Lead*rate)), 0)
	for i, x := range parts {
		write(x, level.Gain(sounds[i], lufs))
	}
	write(make([]int16, int(target.TailMin*rate)), 0)
	require.NoError(t, w.Close())
	y := decode(out.Bytes())
	require.Len(t, y, int(total))
	report := target.Report(measure(y), rate)
	require.Truef(t, report.Pass, "%+v", report)
	require.Len(t, report.Figures, 6)
	var before float64
	for i := range parts {
		from := int(target.Lead*rate) + i*4*rate
		now := measure(y[from : from+4*rate]).LUFS
		if i > 0 {
			require.InDelta(t, before, now, 1, "segment %d and the one before", i)
		}
		before = now
	}
}

func TestAReportSaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	target, _ := level.TargetOf(job.LoudnessR128)
	r := target.Report(loudness.Figures{LUFS: -22.4, TruePeak: -1}, rate)
	require.False(t, r.Pass)
	require.False(t, r.Figures[0].Pass)
	require.True(t, r.Figures[1].Pass)
	require.Nil(t, r.Figures[1].Min)
	_, ok := level.TargetOf(job.LoudnessNone)
	require.False(t, ok)
}

func TestSilenceIsNotMadeLouder(t *testing.T) {
	t.Parallel()
	require.Zero(t, level.Gain(level.Sound{LUFS: loudness.Floor, RMS: loudness.Floor}, -20))
	require.InDelta(t, level.MaxGain, level.Gain(level.Sound{LUFS: -90, RMS: -90}, -20), 0)
}

func BenchmarkWriter(b *testing.B) {
	x := wav.AppendSamples(nil, speech(15, .9, 3))
	for b.Loop() {
		var out bytes.Buffer
		w := level.NewWriter(&out, rate, -4)
		w.Gain(3)
		_, err := w.Write(x)
		require.NoError(b, err)
		require.NoError(b, w.Close())
	}
	b.ReportMetric(15*float64(b.N)/b.Elapsed().Seconds(), "x-realtime")
}
