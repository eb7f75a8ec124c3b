package loudness_test

import (
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/voicemill/voicemill/platform/wav"
	"github.com/voicemill/voicemill/worker/internal/loudness"
)

// part is a sine in all channels: its peak in dB of full scale, and how long.
type part struct{ db, seconds float64 }

func sines(rate, channels int, hz, phase float64, parts ...part) (out []int16) {
	n := 0
	for _, p := range parts {
		for range int(p.seconds * float64(rate)) {
			x := math.Pow(10, p.db/20) * math.Sin(2*math.Pi*hz*float64(n)/float64(rate)+phase)
			for range channels {
				out = append(out, int16(math.Round(x*32767)))
			}
			n++
		}
	}
	return out
}

func measure(samples []int16, rate, channels int) loudness.Figures {
	m := loudness.NewMeter(rate, channels)
	m.Write(samples)
	return m.Figures()
}

// TestIntegratedLoudness has the cases 1 to 5 of EBU Tech 3341, at several rates.
func TestIntegratedLoudness(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		want  float64
		parts []part
	}{
		"case 1: a tone at -23":             {-23, []part{{-23, 20}}},
		"case 2: a tone at -33":             {-33, []part{{-33, 20}}},
		"case 3: the relative gate":         {-23, []part{{-36, 10}, {-23, 60}, {-36, 10}}},
		"case 4: both gates":                {-23, []part{{-72, 10}, {-36, 10}, {-23, 60}, {-36, 10}, {-72, 10}}},
		"case 5: what passes is averaged":   {-23, []part{{-26, 20}, {-20, 20.1}, {-26, 20}}},
		"less than a block has its ungated": {-23, []part{{-23, .3}}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			const rate = 24000
			require.InDelta(t, c.want, measure(sines(rate, 2, 1000, 0, c.parts...), rate, 2).LUFS, .1)
		})
	}
}

func TestLoudnessAtAnyRate(t *testing.T) {
	t.Parallel()
	for _, rate := range []int{8000, 16000, 22050, 44100, 48000} {
		require.InDelta(t, -23, measure(sines(rate, 2, 1000, 0, part{-23, 3}), rate, 2).LUFS, .1, "%d Hz", rate)
		require.InDelta(t, -26.01, measure(sines(rate, 1, 1000, 0, part{-23, 3}), rate, 1).LUFS, .1, "one channel has half the energy")
	}
}

// TestTruePeak has the cases 15 to 18 of EBU Tech 3341: -6 dBTP, +0.2 to -0.4.
func TestTruePeak(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ part, degrees float64 }{
		"case 15": {4, 0}, "case 16": {4, 45}, "case 17": {6, 60}, "case 18": {8, 67.5},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			x := sines(48000, 1, 48000/c.part, c.degrees*math.Pi/180, part{-6, 1})
			for i := range 480 { // the cases fade in; a hard start would overshoot by itself
				x[i] = int16(float64(x[i]) * float64(i) / 480)
				x[len(x)-1-i] = int16(float64(x[len(x)-1-i]) * float64(i) / 480)
			}
			got := measure(x, 48000, 1).TruePeak
			require.GreaterOrEqual(t, got, -6.4)
			require.LessOrEqual(t, got, -5.8)
		})
	}
}

func TestLevelsAndEnds(t *testing.T) {
	t.Parallel()
	const rate = 24000
	x := sines(rate, 1, 1000, 0, part{-200, .75}, part{-20, 3}, part{-65, 2})
	f := measure(x, rate, 1)
	require.InDelta(t, -20, f.Peak, .01)
	require.InDelta(t, -23.01+10*math.Log10(3/5.75), f.RMS, .01)
	require.InDelta(t, loudness.Floor, f.NoiseFloor, 0, "half a second of the lead is digital silence")
	require.EqualValues(t, 3*rate/4, f.Lead)
	require.EqualValues(t, 2*rate, f.Tail)
	require.EqualValues(t, len(x), f.Samples)

	noisy := measure(sines(rate, 1, 1000, 0, part{-20, 3}, part{-65, 2}), rate, 1)
	require.InDelta(t, -68.01, noisy.NoiseFloor, .1)
	require.Zero(t, noisy.Lead)
}

func TestSilence(t *testing.T) {
	t.Parallel()
	f := measure(make([]int16, 24000), 24000, 1)
	require.Equal(t, loudness.Figures{
		LUFS: loudness.Floor, TruePeak: loudness.Floor, Peak: loudness.Floor, RMS: loudness.Floor, NoiseFloor: loudness.Floor,
		Lead: 24000, Samples: 24000,
	}, f)
	require.Zero(t, measure(nil, 24000, 1).Samples)
}

// TestHowItIsCutDoesNotMatter has samples written in pieces.
func TestHowItIsCutDoesNotMatter(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		x := rapid.SliceOfN(rapid.Int16(), 0, 9000).Draw(t, "samples")
		m := loudness.NewMeter(8000, 1)
		for rest := x; len(rest) > 0; {
			n := rapid.IntRange(1, len(rest)).Draw(t, "piece")
			m.Write(rest[:n])
			_ = m.Figures() // asking changes nothing
			rest = rest[n:]
		}
		if got, want := m.Figures(), measure(x, 8000, 1); got != want {
			t.Fatalf("%+v; in one piece %+v", got, want)
		}
	})
}

func TestBytesMayBeCutInsideOfASample(t *testing.T) {
	t.Parallel()
	samples := speechlike(24_000, 1)
	raw := wav.AppendSamples(nil, samples)
	for _, size := range []int{1, 3, 4096, len(raw)} {
		p := loudness.NewPCM(24_000)
		for part := range slices.Chunk(raw, size) {
			n, err := p.Write(part)
			require.NoError(t, err)
			require.Equal(t, len(part), n)
		}
		require.Equal(t, loudness.Of(samples, 24_000), p.Figures(), "%d bytes at once", size)
	}
}

// TestAgreesWithFFmpeg compares with the filter ebur128, another implementation.
func TestAgreesWithFFmpeg(t *testing.T) {
	t.Parallel()
	for _, rate := range []int{22050, 44100} {
		x := speechlike(rate, 8)
		file := filepath.Join(t.TempDir(), "x.wav")
		require.NoError(t, os.WriteFile(file, wav.Encode(rate, x), 0o600))
		out, err := exec.CommandContext(t.Context(), "ffmpeg", "-nostats", "-i", file, "-af", "ebur128=peak=true", "-f", "null", "-").CombinedOutput()
		require.NoError(t, err, "%s", out)
		got := measure(x, rate, 1)
		require.InDelta(t, figure(t, out, `I:\s+(-?[\d.]+) LUFS\s+Threshold`), got.LUFS, .1)
		require.InDelta(t, figure(t, out, `Peak:\s+(-?[\d.]+) dBFS`), got.TruePeak, .2)
	}
}

func figure(t *testing.T, out []byte, pattern string) float64 {
	t.Helper()
	all := regexp.MustCompile(pattern).FindAllSubmatch(out, -1)
	require.NotEmpty(t, all, "%s", out)
	f, err := strconv.ParseFloat(string(all[len(all)-1][1]), 64)
	require.NoError(t, err)
	return f
}

// speechlike returns syllables of harmonics with pauses between them.
func speechlike(rate int, seconds float64) []int16 {
	out := make([]int16, int(seconds*float64(rate)))
	for i := range out {
		at := float64(i) / float64(rate)
		level := max(0, math.Sin(2*math.Pi*3*at)) * (.2 + .15*math.Sin(2*math.Pi*.13*at))
		if math.Mod(at, 4) > 3.2 {
			level = 0
		}
		x := 0.0
		for h := 1.0; h < 12; h++ {
			x += math.Sin(2*math.Pi*140*h*at+h*h) / h
		}
		out[i] = int16(32767 * level * x / 3)
	}
	return out
}

func BenchmarkMeter(b *testing.B) {
	x := speechlike(24000, 15)
	b.ReportAllocs()
	for b.Loop() {
		measure(x, 24000, 1)
	}
	b.ReportMetric(15*float64(b.N)/b.Elapsed().Seconds(), "x-realtime")
}
