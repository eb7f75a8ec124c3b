package enginesim

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

func TestCostsAreReadByNameAndByNumbers(t *testing.T) {
	t.Parallel()
	for s, want := range map[string]Cost{
		"instant":                   nil,
		"l20-static":                Static{A: .03, B: .073, C: .034, E: .018},
		"static:1,0.5,0.25,0":       Static{A: 1, B: .5, C: .25},
		"continuous:1=8.1,4=13.5":   Continuous{Curve: []Point{{1, 8.1}, {4, 13.5}}},
		"continuous:1=8.1,4=13.5,8": nil,
		"continuous:4=8,1=9":        nil,
		"static:1,2,3":              nil,
		"static:1,2,3,-4":           nil,
		"free":                      nil,
	} {
		got, err := ParseCost(s)
		if want == nil && s != "instant" {
			require.Error(t, err, s)
			continue
		}
		require.NoError(t, err, s)
		require.Equal(t, want, got, s)
	}
}

func TestGoodputIsStraightBetweenPointsAndFlatBeyond(t *testing.T) {
	t.Parallel()
	c := Continuous{Curve: []Point{{1, 8}, {3, 12}, {8, 14}}}
	for n, want := range map[int]float64{1: 8, 2: 10, 3: 12, 8: 14, 50: 14} {
		require.InDelta(t, want, c.at(n), 1e-9, "%d texts", n)
	}
}

// CosyVoice's own table of the L20: 26 texts of 178.6 s. Which lengths they had it does not
// say.
func TestTheStaticCostIsThePublishedTable(t *testing.T) {
	t.Parallel()
	cost, ok := costs["l20-static"].(Static)
	require.True(t, ok)
	var lengths []float64
	for i := range 26 { // spread like the corpus: 178.6 s, a deviation of .4
		lengths = append(lengths, 178.6/26*(1+.4*1.73*(2*float64((i*11)%26)/25-1)))
	}
	for batch, want := range map[int]float64{1: 19.48, 4: 11.43, 16: 8.83} {
		took := 0.0
		for from := 0; from < len(lengths); from += batch {
			took += cost.takes(lengths[from:min(from+batch, len(lengths))])
		}
		require.InEpsilon(t, want, took, .12, "batch %d", batch)
	}
}

// run has texts of so many seconds spoken at once, and returns when each was, and with how
// many others.
func run(t *testing.T, cost Cost, batch int, seconds ...float64) (times []time.Duration, company []int) {
	t.Helper()
	times, company = make([]time.Duration, len(seconds)), make([]int, len(seconds))
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		e := newEngine(Config{Cost: cost, Speedup: 1, Batch: batch})
		var engine, texts sync.WaitGroup
		engine.Go(func() { e.run(ctx) })
		begun := time.Now()
		for i, s := range seconds {
			texts.Go(func() {
				n, err := e.speak(ctx, s)
				times[i], company[i] = time.Since(begun), n
				require.NoError(t, err)
			})
		}
		texts.Wait()
		cancel()
		engine.Wait()
	})
	return times, company
}

func TestAStaticEngineSpeaksBatches(t *testing.T) {
	t.Parallel()
	times, company := run(t, Static{A: 1, B: .5, Wait: 10 * time.Millisecond}, 2, 4, 4, 4)
	var twos, ones int
	for i, n := range company {
		switch n {
		case 2:
			twos++
			require.InDelta(t, 3, times[i].Seconds(), .05)
		case 1:
			ones++
			require.InDelta(t, 6, times[i].Seconds(), .05)
		}
	}
	require.Equal(t, []int{2, 1}, []int{twos, ones})
}

func TestAContinuousEngineSharesItsPace(t *testing.T) {
	t.Parallel()
	// Two at 5 s/s each until the first is through, then one at 8.
	times, company := run(t, Continuous{Curve: []Point{{1, 8}, {2, 10}}}, 1, 10, 18)
	require.InDelta(t, 2, times[0].Seconds(), .01)
	require.InDelta(t, 3, times[1].Seconds(), .01)
	require.Equal(t, []int{2, 1}, company)
}
