package resample_test

import (
	"fmt"
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/platform/resample"
)

var pairs = [][2]int{
	{22050, 24000},
	{24000, 22050},
	{24000, 44100},
	{44100, 24000},
	{16000, 24000},
	{24000, 16000},
	{24000, 48000},
	{48000, 24000},
	{8000, 24000},
	{22050, 44100},
	{44100, 48000},
	{24000, 8000},
}

func each(t *testing.T, test func(t *testing.T, from, to int, r *resample.Resampler)) {
	t.Helper()
	for _, p := range pairs {
		t.Run(fmt.Sprintf("%d to %d", p[0], p[1]), func(t *testing.T) {
			t.Parallel()
			r, err := resample.New(p[0], p[1])
			require.NoError(t, err)
			test(t, p[0], p[1], r)
		})
	}
}

func sine(n, rate int, hz, amplitude float64) []int16 {
	out := make([]int16, n)
	for i := range out {
		out[i] = int16(math.RoundToEven(amplitude * math.Sin(2*math.Pi*hz*float64(i)/float64(rate))))
	}
	return out
}

func TestSineKeepsItsPhaseAndLevel(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, from, to int, r *resample.Resampler) {
		const amplitude = 20000
		for _, share := range []float64{0.01, 0.1, 0.35, 0.6, 0.8} { // of the lower Nyquist frequency
			hz := share * float64(min(from, to)) / 2
			got := r.Resample(nil, sine(from, from, hz, amplitude))
			var signal, noise float64
			for i := to / 10; i < to*9/10; i++ { // the ends ring, since the sine begins and stops there
				want := amplitude * math.Sin(2*math.Pi*hz*float64(i)/float64(to))
				signal += want * want
				noise += (float64(got[i]) - want) * (float64(got[i]) - want)
			}
			snr := 10 * math.Log10(signal/noise)
			require.Greaterf(t, snr, 80.0, "SNR of %.0f Hz", hz)
		}
	})
}

func TestTooHighToneIsStopped(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, from, to int, r *resample.Resampler) {
		if to >= from {
			return // nothing can be too high
		}
		hz := 1.05 * float64(to) / 2
		got := r.Resample(nil, sine(from, from, hz, 20000))
		var power float64
		for _, s := range got[to/10 : to*9/10] {
			power += float64(s) * float64(s)
		}
		level := 10 * math.Log10((power/float64(to*8/10)+1e-9)/(20000*20000/2))
		require.Lessf(t, level, -75.0, "level of an alias of %.0f Hz in dB", hz)
	})
}

func TestConstantStaysItself(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, from, to int, r *resample.Resampler) {
		src := make([]int16, from)
		for i := range src {
			src[i] = -12345
		}
		got := r.Resample(nil, src)
		for i := to / 10; i < to*9/10; i++ {
			require.EqualValues(t, -12345, got[i])
		}
	})
}

func TestLengthIsTheRatioRoundedUp(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, from, to int, r *resample.Resampler) {
		for _, n := range []int{0, 1, 2, 3, 7, 146, 147, 148, 159, 160, 161, 1000, 22050, 24001} {
			want := (n*to + from - 1) / from
			require.Equal(t, want, r.Len(n))
			require.Lenf(t, r.Resample(nil, make([]int16, n)), want, "of %d", n)
		}
	})
}

func TestLoudSquareClipsWithoutWrapping(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, from, _ int, r *resample.Resampler) {
		src := make([]int16, 4096)
		for i := range src {
			src[i] = math.MaxInt16
			if i/512%2 == 1 {
				src[i] = math.MinInt16
			}
		}
		got := r.Resample(nil, src)
		require.Contains(t, got, int16(math.MaxInt16))
		middle := got[r.Len(256)]
		require.Greaterf(t, middle, int16(30000), "in the middle of a high half wave at %d Hz", from)
	})
}

func TestAppendsToWhatIsThere(t *testing.T) {
	t.Parallel()
	r, err := resample.New(22050, 24000)
	require.NoError(t, err)
	src := sine(500, 22050, 440, 10000)
	require.Equal(t, append([]int16{7, 8}, r.Resample(nil, src)...), r.Resample([]int16{7, 8}, src))
}

func TestEqualRatesCopy(t *testing.T) {
	t.Parallel()
	r, err := resample.New(24000, 24000)
	require.NoError(t, err)
	src := sine(500, 24000, 440, 10000)
	require.Equal(t, src, r.Resample(nil, src))
}

func TestNewRefusesRatesItCannotServe(t *testing.T) {
	t.Parallel()
	for name, p := range map[string][2]int{"zero": {0, 24000}, "negative": {24000, -1}, "too high": {24000, 1e6}, "no common factor": {23999, 24001}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := resample.New(p[0], p[1])
			require.Error(t, err)
		})
	}
}

func BenchmarkResample(b *testing.B) {
	for _, p := range pairs[:6] {
		b.Run(fmt.Sprintf("%d_to_%d", p[0], p[1]), func(b *testing.B) {
			r, err := resample.New(p[0], p[1])
			require.NoError(b, err)
			src := sine(15*p[0], p[0], 440, 20000)
			dst := make([]int16, 0, r.Len(len(src)))
			for b.Loop() {
				dst = r.Resample(dst[:0], src)
			}
			b.ReportMetric(15*float64(b.N)/b.Elapsed().Seconds(), "x-realtime")
		})
	}
}
