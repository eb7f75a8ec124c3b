package fleet_test

import (
	"context"
	"math"
	"os"
	"slices"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/worker/internal/engine"
)

// killed is a backend that somebody kills: what is in flight is lost, and it takes a
// while to come back, or none where the driver starts another by itself.
type killed struct {
	sim
	down  time.Duration
	until time.Time     // under mu: it is away
	kill  chan struct{} // under mu; closed by a kill
	kills int           // under mu
	// dies reports whether it is killed in the middle of this call; nil: never.
	dies func(batch []engine.Request) bool
}

func newKilled(down time.Duration) *killed {
	return &killed{sim: sim{window: 4}, down: down, kill: make(chan struct{})}
}

// killings tests both kinds.
func killings(t *testing.T, test func(t *testing.T, down time.Duration)) {
	t.Helper()
	for name, down := range map[string]time.Duration{"it comes back": time.Second, "its driver starts another": 0} {
		t.Run(name, func(t *testing.T) { synctest.Test(t, func(t *testing.T) { test(t, down) }) })
	}
}

func (k *killed) strike() {
	k.mu.Lock()
	defer k.mu.Unlock()
	close(k.kill)
	k.kill = make(chan struct{})
	k.until = time.Now().Add(k.down)
	k.kills++
}

func (k *killed) Synthesize(ctx context.Context, batch []engine.Request) ([]engine.Result, error) {
	k.mu.Lock()
	away, kill := time.Now().Before(k.until), k.kill
	k.mu.Unlock()
	if away {
		return k.all(batch, errRefuses), nil
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	spoken := make(chan []engine.Result, 1)
	failed := make(chan error, 1)
	go func() {
		results, err := k.sim.Synthesize(ctx, batch)
		if err != nil {
			failed <- err
			return
		}
		spoken <- results
	}()
	if k.dies != nil && k.dies(batch) {
		_ = sleep(ctx, 50*time.Millisecond)
		k.strike()
	}
	select {
	case <-kill:
		if k.down == 0 {
			return k.all(batch, errDies), nil
		}
		return k.all(batch, errResets), nil
	case err := <-failed:
		return nil, err
	case results := <-spoken:
		return results, nil
	}
}

// A text that was there when its engine was killed, once with others and twice alone,
// has done nothing.
func TestATextThatIsThereAtThreeKillsIsSpoken(t *testing.T) {
	killings(t, func(t *testing.T, down time.Duration) {
		k, hits := newKilled(down), 0
		k.dies = func(batch []engine.Request) bool {
			if batch[0].Text != "unlucky" || hits == 3 {
				return false
			}
			hits++
			return true
		}
		b := newBook(open(t, k))
		b.read(t.Context(), append([]string{"unlucky"}, texts(20)...), 1, 4)
		require.Empty(t, b.charged)
		require.Len(t, b.done, 21)
		require.Equal(t, 3, k.kills)
	})
}

// An engine that also ends without the text says nothing against it, however often it
// ended with it.
func TestAnEngineThatEndsInTheControlAcquitsTheText(t *testing.T) {
	killings(t, func(t *testing.T, down time.Duration) {
		k := newKilled(down)
		var mu sync.Mutex
		alone, controls, canaries := 0, 0, 0
		k.dies = func(batch []engine.Request) bool {
			mu.Lock()
			defer mu.Unlock()
			switch {
			case controls == 10: // from now on nobody kills it
				return false
			case batch[0].Text == "unlucky":
				alone, canaries = alone+1, 0
				return true
			}
			if canaries++; alone == 1 || canaries < 5 { // those by which it proves itself are fewer
				return false
			}
			controls, canaries = controls+1, 0
			return true
		}
		b := newBook(open(t, k))
		b.read(t.Context(), []string{"unlucky"}, 1, 1)
		require.Empty(t, b.charged)
		require.Len(t, b.done, 1)
		require.Equal(t, 10, controls)
		require.GreaterOrEqual(t, alone, 10)
	})
}

// killRounds is with how many seeds engines are killed.
func killRounds(t *testing.T) int {
	t.Helper()
	v := os.Getenv("VOICEMILL_FAULT_ROUNDS")
	if v == "" {
		return 2
	}
	n, err := strconv.Atoi(v)
	require.NoError(t, err)
	return n
}

// Somebody kills an engine every ten seconds or so, at any moment. Texts are given to it alone by
// then, and some are hit there more than once.
func TestKillsAtAnyMomentFailNothing(t *testing.T) {
	for seed := range killRounds(t) {
		killings(t, func(t *testing.T, down time.Duration) {
			k, random := newKilled(down/2), newRandom(seed)
			ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
			defer cancel()
			go func() {
				for sleep(ctx, time.Duration(-math.Log(1-random())*float64(10*time.Second))) == nil {
					k.strike()
				}
			}()
			b := newBook(open(t, k))
			b.read(ctx, texts(4000), 1, 4)
			require.Greater(t, k.kills, 40)
			require.Empty(t, b.failed)
			require.Len(t, b.done, 4000)
		})
	}
}

// A text that ends every engine fails, with a reason that says so, after four of them:
// one that it had with others, and three that it had alone. The two last of these had
// spoken canaries for four times as long just before.
func TestATextThatEndsEveryEngineFailsAfterFour(t *testing.T) {
	killings(t, func(t *testing.T, down time.Duration) {
		k := newKilled(down)
		k.dies = func(batch []engine.Request) bool {
			return slices.ContainsFunc(batch, func(r engine.Request) bool { return r.Text == "poison" })
		}
		b := newBook(open(t, k))
		b.read(t.Context(), append(texts(20), "poison"), 1, 4)
		require.Len(t, b.done, 20)
		require.Equal(t, map[string]int{"poison": 1}, b.charged)
		require.ErrorIs(t, b.failed["poison"], engine.ErrPoison)
		require.Equal(t, "The text ended the speech engine 3 times.", job.PublicOf(b.failed["poison"], ""))
		require.Equal(t, 4, k.kills)
	})
}
