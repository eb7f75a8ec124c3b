package recur

import (
	"math"
	"math/cmplx"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestTheTransformIsFouriers(t *testing.T) {
	t.Parallel()
	f := newFilters(1000)
	random := rand.New(rand.NewPCG(1, 1)) //nolint:gosec // the same each time
	x := make([]complex128, f.size)
	for i := range x {
		x[i] = complex(random.Float64(), random.Float64())
	}
	want := make([]complex128, f.size)
	for k := range want {
		for i, v := range x {
			want[k] += v * cmplx.Rect(1, -2*math.Pi*float64(i*k)/float64(f.size))
		}
	}
	fourier(x, f.roots)
	for k := range want {
		require.InDelta(t, 0, cmplx.Abs(x[k]-want[k]), 1e-9)
	}
}

// TestTwoWindowsAtOnceAreThoseOneByOne says that neither gets into the other's spectrum.
func TestTwoWindowsAtOnceAreThoseOneByOne(t *testing.T) {
	t.Parallel()
	f := newFilters(16000)
	random := rand.New(rand.NewPCG(1, 2)) //nolint:gosec // the same each time
	a, b, silent := make([]int16, f.size), make([]int16, f.size), make([]int16, f.size)
	for i := range a {
		a[i], b[i] = int16(9000*math.Sin(float64(i)/5)), int16(random.IntN(2000)-1000) //nolint:gosec // it fits
	}
	var both, alone [2][coefficients]float32
	f.transform(a, b)
	levels := [2]float64{f.cepstrum(false, &both[0]), f.cepstrum(true, &both[1])}
	f.transform(a, silent)
	require.InDelta(t, f.cepstrum(false, &alone[0]), levels[0], 1e-6)
	f.transform(silent, b)
	require.InDelta(t, f.cepstrum(true, &alone[1]), levels[1], 1e-6)
	for k := range coefficients {
		require.InDelta(t, alone[0][k], both[0][k], 1e-3)
		require.InDelta(t, alone[1][k], both[1][k], 1e-3)
	}
}
