package fairsim_test

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/scheduler/internal/fair/fairsim"
)

// What is there can be foretold; that half of the work is still to come, from
// others and by chance, makes an interval wider.
func TestIntervalsCoverWhatComesAndAreNarrow(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name     string
		engine   fairsim.Engine
		backends int
		load     float64
		width    float64
	}{
		{"continuous engines, books all there", fairsim.Continuous(), 3, 1, 0.5},
		{"static engines, books all there", fairsim.Static(), 4, 1, 0.5},
		{"continuous engines at half load", fairsim.Continuous(), 3, 0.5, 0.65},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			list := fairsim.Foretell(c.engine, c.backends, c.load, 400, 1)
			require.GreaterOrEqual(t, len(list), 200)
			covered := 0
			var widths []float64
			for _, f := range list[len(list)-200:] {
				if f.Low <= f.Took && f.Took <= f.High {
					covered++
				}
				widths = append(widths, (f.High-f.Low)/f.Took)
			}
			slices.Sort(widths)
			t.Logf("%s: %d of 200 covered, median width %.2f of what remained", c.name, covered, widths[100])
			require.GreaterOrEqual(t, covered, 160)
			require.LessOrEqual(t, widths[100], c.width)
		})
	}
}
