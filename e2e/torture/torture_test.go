package torture_test

import (
	"maps"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/e2e/internal/stage"
)

var bin string // the folder with the built commands

func TestMain(m *testing.M) { os.Exit(stage.Main(m, &bin)) }

const workers = 24 // cases at a time

// each runs every case, some at a time.
func each[C any](t *testing.T, cases map[string]C, do func(name string, c C) error) {
	t.Helper()
	var wg sync.WaitGroup
	names := make(chan string)
	for range workers {
		wg.Go(func() {
			for name := range names {
				if err := do(name, cases[name]); err != nil {
					t.Errorf("%s: %v", name, err)
				}
			}
		})
	}
	for _, name := range slices.Sorted(maps.Keys(cases)) {
		names <- name
	}
	close(names)
	wg.Wait()
}

func TestTheGatewayBearsEverything(t *testing.T) {
	g := newTarget(t)
	warmUp(t, g)
	before := g.settle(t, nil)
	others := bystand(t.Context(), g)
	t.Cleanup(others.cancel)
	slow := beSlow(t, g) // goes on beside everything else
	for _, ordeal := range []struct {
		name string
		run  func(*testing.T, *target) int
	}{
		{"smuggled requests", smuggle},
		{"smuggled in streamed bodies", smuggleStreamed},
		{"WebSocket cases", speakWebSocket},
		{"oversized everything", oversize},
		{"cuts at every byte", cut},
		{"broken TLS records", breakRecords},
		{"connections opened and dropped", storm},
		{"more connections than allowed", overflow},
	} {
		from, answered := time.Now(), others.answered.Load()
		n := ordeal.run(t, g)
		t.Logf("%-32s %6d cases, %s; others had %d answers", ordeal.name, n, time.Since(from).Round(time.Millisecond), others.answered.Load()-answered)
		require.Eventually(t, func() bool { return others.answered.Load() > answered }, patience, bystanderPause, "nobody else was answered")
	}
	t.Logf("%-32s %6d connections", "slow peers", slow())
	t.Logf("others: %d answers, the slowest after %s", others.answered.Load(), time.Duration(others.slowest.Load()).Round(time.Millisecond))
	require.Empty(t, others.stop())
	g.settle(t, before)
	g.unharmed(t)
}
