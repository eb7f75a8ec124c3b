//go:build !race

// Hours of an engine in virtual time, and thousands of texts, take minutes under the race
// detector: `make test` runs these without it. What they run, others run under it.

package fleet_test

import (
	"context"
	"fmt"
	"os"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/worker/internal/engine"
)

// TestTheWindowIsWorthIt holds the window that a fleet finds against every fixed one and
// against failsafe-go's adaptive limiter, in virtual time. VOICEMILL_WINDOW_SEEDS says
// how many seeds; without it there are few, of the engines that have an aim.
func TestTheWindowIsWorthIt(t *testing.T) {
	t.Parallel()
	seeds, all := windowSeeds(t, 1), os.Getenv(seedsOf) != ""
	for _, c := range []struct {
		name   string
		curve  curve
		prose  prose
		all    float64 // the least part of the best fixed window's goodput
		eased  float64 // the same while somebody waits
		p95    float64 // and the most of fixed-16's p95 then; 0: no fixed window reaches both
		always bool
	}{
		{"H200, packed", h200, packed, .95, .88, .65, false},
		{"H200, sentences", h200, novel, .95, .88, .65, false},
		{"L20, packed", l20, packed, .95, .88, .65, true},
		{"L20, sentences", l20, novel, .95, .88, .65, false},
		{"HiFT, packed", hift, packed, .95, .88, .65, false},
		{"Qwen3-TTS on an L40S, packed", qwen, packed, .95, .88, 0, false},
		{"degrading L20, packed", degrading, packed, .92, .88, .65, true},
		{"degrading L20, sentences", degrading, novel, .92, .88, .65, false},
		{"H200 that worsens after 40 min, packed", worsens(length / 2), packed, .92, .88, .65, false},
		{"H200 that worsens after 40 min, sentences", worsens(length / 2), novel, .92, .88, .65, false},
	} {
		if !all && !c.always {
			continue
		}
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r := compare(t, c.curve, c.prose, seeds, all)
			t.Logf("%s, %d seeds\n%s", c.name, seeds, r.table)
			require.GreaterOrEqual(t, mean(r.all), c.all, "of the best fixed window, while nobody waits")
			require.GreaterOrEqual(t, mean(r.eased), c.eased, "of the best fixed window, while somebody waits")
			if c.p95 > 0 {
				require.LessOrEqual(t, mean(r.p95), c.p95, "of the p95 of 16 at once, while somebody waits")
			}
		})
	}
}

// comparison is what the fleet makes of an engine: parts of what the best fixed window
// makes of it with the same seed, and of the p95 of 16 at once.
type comparison struct {
	table           string
	all, eased, p95 []float64
}

func compare(t *testing.T, c curve, p prose, seeds int, everyWindow bool) (r comparison) {
	t.Helper()
	windows := []int{8, 16}
	if everyWindow {
		windows = []int{1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64}
	}
	goodput, p95 := make([][]float64, len(windows)), make([][]float64, len(windows))
	best := 0
	for i, n := range windows {
		goodput[i], p95[i] = run(t, c, p, seeds, func(_ *testing.T, e *curved) limiter { return fixed{direct{e}, make(chan struct{}, n)} })
		if mean(goodput[i]) > mean(goodput[best]) {
			best = i
		}
	}
	sixteen := p95[slices.Index(windows, 16)]
	r.table = fmt.Sprintf("    %-34s %-22s %-20s %-22s %s\n", "window", "audio s/s", "p95 s", "of the best fixed", "of fixed-16's p95")
	line := func(name string, g, l []float64) (of, late []float64) {
		of, late = parts(g, goodput[best]), parts(l, sixteen)
		r.table += fmt.Sprintf("    %-34s %-22s %-20s %-22s %s\n", name, spread(g, 1), spread(l, 1), spread(of, 3), spread(late, 2))
		return of, late
	}
	for i, n := range windows {
		name := fmt.Sprintf("fixed %d", n)
		if i == best {
			name += ", the best"
		}
		line(name, goodput[i], p95[i])
	}
	if everyWindow {
		g, l := run(t, c, p, seeds, func(_ *testing.T, e *curved) limiter { return newFailsafe(direct{e}) })
		line("failsafe-go", g, l)
	}
	g, l := run(t, c, p, seeds, func(t *testing.T, e *curved) limiter { t.Helper(); return newFound(t, e, false) })
	r.all, _ = line("ours, nobody waits", g, l)
	g, l = run(t, c, p, seeds, func(t *testing.T, e *curved) limiter { t.Helper(); return newFound(t, e, true) })
	r.eased, r.p95 = line("ours, somebody waits", g, l)
	return r
}

func run(t *testing.T, c curve, p prose, seeds int, open func(t *testing.T, e *curved) limiter) (goodput, p95 []float64) {
	t.Helper()
	for seed := range seeds {
		o := simulate(t, c, p, seed, open)
		goodput, p95 = append(goodput, o.goodput), append(p95, o.p95)
	}
	return goodput, p95
}

func parts(of, whole []float64) []float64 {
	all := make([]float64, len(of))
	for i := range of {
		all[i] = of[i] / whole[i]
	}
	return all
}

func mean(v []float64) (m float64) {
	for _, x := range v {
		m += x / float64(len(v))
	}
	return m
}

// spread is the mean, and the least to the most if there are several.
func spread(v []float64, digits int) string {
	if len(v) == 1 {
		return fmt.Sprintf("%.*f", digits, v[0])
	}
	return fmt.Sprintf("%.*f (%.*f–%.*f)", digits, mean(v), digits, slices.Min(v), digits, slices.Max(v))
}

// However full it is and however unlike its texts, an engine that works is not given up:
// an hour at every window, on engines that get slower the more they have.
func TestAnHourOfSaturationEjectsNobody(t *testing.T) {
	windows := []int{1, 16}
	if os.Getenv(seedsOf) != "" {
		windows = []int{1, 4, 16, 32}
	}
	for name, c := range map[string]curve{"H200": h200, "degrading L20": degrading} {
		for _, window := range windows {
			for seed := range windowSeeds(t, 1) {
				synctest.Test(t, func(t *testing.T) {
					e := newCurved(t.Context(), c, seed)
					f := openCurved(t, e, window)
					ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
					defer cancel()
					done := make(chan struct{})
					go func() { defer close(done); saturate(ctx, f, window, seed) }()
					time.Sleep(time.Second * 10)
					for until := time.Now().Add(59 * time.Minute); time.Now().Before(until); time.Sleep(time.Second) {
						if f.State().Well != 1 {
							t.Errorf("%s, window %d, seed %d: it was ejected: %s", name, window, seed, f.State().Reason)
							break
						}
					}
					e.mu.Lock()
					left, why, at := e.left, e.why, e.leftAt.Sub(e.begun)
					e.mu.Unlock()
					cancel()
					<-done
					require.NoError(t, f.Close())
					require.Zero(t, left, "calls that were given up: %s, window %d, seed %d, at %s: %v", name, window, seed, at, why)
				})
			}
		}
	}
}

// An engine whose connections stand and that says nothing more is found out by what it
// should have said: within three times of what its longest text takes, or ten seconds.
func TestAStallIsFoundByWhatTheEngineShouldHaveSaid(t *testing.T) {
	for _, window := range []int{1, 4, 16, 64} {
		for seed := range windowSeeds(t, 1) {
			synctest.Test(t, func(t *testing.T) {
				e := newCurved(t.Context(), h200, seed)
				f := openCurved(t, e, window)
				ctx, cancel := context.WithCancel(t.Context())
				done := make(chan struct{})
				go func() { defer close(done); saturate(ctx, f, window, seed) }()
				time.Sleep(5*time.Minute + time.Duration(seed)*317*time.Millisecond)
				e.hang(true)
				hung := time.Now()
				longest := 18 * float64(window) / h200(float64(window), 0) // seconds that the longest text takes
				bound := max(10*time.Second, time.Duration(3*longest*float64(time.Second)))
				time.Sleep(bound + bound/4 + 11*time.Second)
				synctest.Wait()
				e.mu.Lock()
				left, found := e.left, e.leftAt.Sub(hung)
				e.mu.Unlock()
				require.Positive(t, left, "its calls are given up")
				require.LessOrEqual(t, found, bound+bound/4, "the pace is learnt, and known to a quarter")
				require.True(t, f.State().Waiting, "and ten seconds later, when it has not spoken a canary either, it is sick")
				t.Logf("window %d, seed %d: found after %s, at most %s", window, seed, found.Round(time.Second), bound.Round(time.Second))
				e.hang(false)
				time.Sleep(time.Minute)
				require.False(t, f.State().Waiting, "it is well when it speaks again")
				cancel()
				<-done
				require.NoError(t, f.Close())
			})
		}
	}
}

// Whatever a pool fails with for ten minutes, it is asked at most 1.2 times as much as it
// would be to speak what it has spoken in the end.
func TestAFailingPoolHasLittleMoreToDo(t *testing.T) {
	const many = 2000
	for name, err := range map[string]error{
		"it answers 500": errFails, "it resets": errResets, "it hangs": errHangs, "it refuses connections": errRefuses,
		"it answers 400": errInvalid, "it is full": errFull,
	} {
		for shape, sick := range map[string]int{"all of it": 3, "one of three addresses": 1} {
			t.Run(name+", "+shape, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					var all []engine.Engine
					for i := range 3 {
						s := &sim{window: 8}
						if i < sick {
							s.fail = sickFor(5*time.Second, 10*time.Minute, err)
						}
						all = append(all, s)
					}
					b := newBook(open(t, all...))
					ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
					defer cancel()
					b.read(ctx, texts(many), 1, 24)
					require.Len(t, b.done, many)
					require.Empty(t, b.charged)
					asked := 0
					for _, d := range all {
						calls, canaries := d.(*sim).counts()
						asked += calls + canaries
					}
					t.Logf("%s, %s: asked %d times for %d texts, %.2f", name, shape, asked, many, float64(asked)/many)
					require.LessOrEqual(t, float64(asked), 1.2*many)
				})
			})
		}
	}
}

// An engine that fails with half of what it gets at random is sick half of the time.
func TestAFlakyEngineFailsHardlyAnything(t *testing.T) {
	failed := 0
	for seed := range 5 {
		synctest.Test(t, func(t *testing.T) {
			random := newRandom(seed)
			s := &sim{window: 4, each: func(engine.Request) error {
				if random() < 0.5 {
					return errFails
				}
				return nil
			}}
			b := newBook(open(t, s))
			b.read(t.Context(), texts(400), 1, 4)
			failed += len(b.failed)
		})
	}
	t.Logf("of 2,000 texts %d failed", failed)
	require.LessOrEqual(t, failed, 2)
}
