package fleet_test

import (
	"context"
	"log/slog"
	"os"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/worker/internal/check"
	"github.com/voicemill/voicemill/worker/internal/engine"
	"github.com/voicemill/voicemill/worker/internal/fleet"
)

// openCurved returns a fleet of e with a fixed window and the bounds of production.
func openCurved(t *testing.T, e *curved, window int) *fleet.Fleet {
	t.Helper()
	f, err := fleet.New(fleet.Config{Pool: "p", Check: check.Default(), CallMin: time.Minute, CallFactor: 20, Log: slog.New(slog.DiscardHandler)}, narrow{e, window})
	require.NoError(t, err)
	return f
}

// narrow is an engine that takes fewer texts at once.
type narrow struct {
	*curved

	window int
}

func (n narrow) Info() engine.Info {
	i := n.curved.Info()
	i.Window = n.window
	return i
}

// saturate has window readers read packed prose until ctx ends.
func saturate(ctx context.Context, f *fleet.Fleet, window, seed int) {
	random := newRandom(seed)
	var readers sync.WaitGroup
	var mu sync.Mutex
	n := 0
	for range window {
		readers.Go(func() {
			for ctx.Err() == nil {
				ready, changed := f.Ready()
				if !ready {
					select {
					case <-changed:
					case <-ctx.Done():
					}
					continue
				}
				mu.Lock()
				n++
				r := request(2+16*random(), n)
				mu.Unlock()
				f.Speak(ctx, []engine.Request{r}, func(int, fleet.Answer) {})
			}
		})
	}
	readers.Wait()
}

// slow is a backend that takes as long as a test says.
type slow struct {
	sim
	takes func(r engine.Request) time.Duration
	left  int // under mu: calls that were given up
}

func (s *slow) Synthesize(ctx context.Context, batch []engine.Request) ([]engine.Result, error) {
	if err := sleep(ctx, s.takes(batch[0])); err != nil {
		s.mu.Lock()
		s.left++
		s.mu.Unlock()
		return nil, engine.CallError("slow", err)
	}
	return s.sim.Synthesize(ctx, batch)
}

// The ten seconds for a canary are for texts that wait in an engine that was well a moment
// ago. One that is started anew may take longer.
func TestAnEngineThatStalledMayTakeItsTimeToComeBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begun := time.Now()
		s := &slow{takes: func(r engine.Request) time.Duration {
			if time.Since(begun) > time.Minute && r.ID == fleet.CanaryID {
				return 12 * time.Second
			}
			return 0
		}}
		s.fail = sickFor(5*time.Second, time.Minute, errHangs)
		b := newBook(open(t, s))
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
		defer cancel()
		b.read(ctx, texts(100), 1, 1)
		require.Len(t, b.done, 100)
	})
}

// Nobody knows how long a text takes whose length was not predicted, or the first one after
// a while: then a call has the time that any has.
func TestACallOfWhichNothingIsKnownIsNoStall(t *testing.T) {
	for name, c := range map[string]struct {
		idle    time.Duration
		seconds float64
	}{"no prediction": {0, 0}, "the first after a minute": {time.Minute + time.Second, 1}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &slow{takes: func(r engine.Request) time.Duration {
					if r.Text == "long" {
						return 14 * time.Second
					}
					return 0
				}}
				f := open(t, s)
				newBook(f).read(t.Context(), texts(20), 1, 1)
				time.Sleep(c.idle)
				f.Speak(t.Context(), []engine.Request{{ID: "x", Text: "long", Voice: "v", Seconds: c.seconds}}, func(_ int, a fleet.Answer) {
					require.NoError(t, a.Err)
				})
				require.Zero(t, s.left)
			})
		})
	}
}

// While texts are answered badly, one upon the other, each has its own time.
func TestATextThatBeganAfterOthersFailedHasItsTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &slow{takes: func(r engine.Request) time.Duration {
			if r.Text == "bad" || r.Text == "worse" {
				return 8 * time.Second
			}
			return 0
		}}
		s.window = 4
		s.mute = func(r engine.Request) bool { return r.Text == "bad" || r.Text == "worse" }
		b := newBook(open(t, s))
		b.read(t.Context(), texts(20), 1, 1)
		var both sync.WaitGroup
		both.Go(func() { b.read(t.Context(), []string{"bad"}, 1, 1) })
		time.Sleep(4 * time.Second)
		both.Go(func() { b.read(t.Context(), []string{"worse"}, 1, 1) })
		both.Wait()
		require.Zero(t, s.left)
		require.Equal(t, map[string]int{"bad": 3, "worse": 3}, b.charged)
	})
}

const seedsOf = "VOICEMILL_WINDOW_SEEDS"

// windowSeeds is with how many seeds engines are simulated, few if nobody says.
func windowSeeds(t *testing.T, few int) int {
	t.Helper()
	v := os.Getenv(seedsOf)
	if v == "" {
		return few
	}
	n, err := strconv.Atoi(v)
	require.NoError(t, err)
	return n
}
