package loudness

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// TestWeightingAt48kHz compares with the coefficients that BS.1770-4 prints
// (tables 1 and 2).
func TestWeightingAt48kHz(t *testing.T) {
	t.Parallel()
	w := newWeighting(48000)
	got := []float64{w.shelf.b0, w.shelf.b1, w.shelf.b2, w.shelf.a1, w.shelf.a2, w.pass.b0, w.pass.b1, w.pass.b2, w.pass.a1, w.pass.a2}
	for i, want := range []float64{
		1.53512485958697, -2.69169618940638, 1.19839281085285, -1.69065929318241, .73248077421585,
		1, -2, 1, -1.99004745483398, .99007225036621,
	} {
		require.InDeltaf(t, want, got[i], 1e-7, "coefficient %d", i)
	}
}
