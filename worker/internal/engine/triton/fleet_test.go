package triton

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/platform/testkit"
	"github.com/voicemill/voicemill/worker/internal/check"
	"github.com/voicemill/voicemill/worker/internal/engine"
	"github.com/voicemill/voicemill/worker/internal/engine/enginetest"
	"github.com/voicemill/voicemill/worker/internal/fleet"
)

// fleetOf returns a fleet of all backends of cfg.
func fleetOf(t *testing.T, cfg Config) *fleet.Fleet {
	t.Helper()
	all, err := New(cfg)
	require.NoError(t, err)
	drivers := make([]engine.Engine, len(all))
	for i, e := range all {
		drivers[i] = e
	}
	f, err := fleet.New(fleet.Config{Pool: "p", Check: check.Default(), CallMin: 5 * time.Second, CallFactor: 20, Log: testkit.Log(t)}, drivers...)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, f.Close()) })
	return f
}

// await waits until f takes work, or takes none.
func await(t *testing.T, f *fleet.Fleet, takes bool) {
	t.Helper()
	for {
		ready, changed := f.Ready()
		if ready == takes {
			return
		}
		select {
		case <-changed:
		case <-time.After(time.Minute):
			t.Fatalf("the fleet: %+v", f.State())
		}
	}
}

// insist has a text spoken however often it is given back, and returns what it is charged with.
func insist(t *testing.T, f *fleet.Fleet, text string) error {
	t.Helper()
	for {
		await(t, f, true)
		var got fleet.Answer
		f.Speak(t.Context(), []engine.Request{enginetest.Request(text)}, func(_ int, a fleet.Answer) { got = a })
		if kind := job.KindOf(got.Err); got.Err == nil || kind != job.Unavailable && kind != job.Overloaded {
			return got.Err
		}
	}
}

// The rule of package fleet, over sockets: two servers that fail with everything.
func TestServersThatAreSickChargeNobody(t *testing.T) {
	t.Parallel()
	for _, fault := range []string{"HANG", "RESET", "DEATH", "NAN", "SILENCE", "Internal", "InvalidArgument", "NotFound"} {
		t.Run(fault, func(t *testing.T) {
			t.Parallel()
			servers := []*server{serve(t), serve(t, decoupled)}
			cfg := settings(t, servers...)
			cfg.MinTimeout, cfg.TimeoutFactor = 400*time.Millisecond, 1
			f := fleetOf(t, cfg)
			await(t, f, true)
			for _, s := range servers {
				s.set(func() { s.fault = fault })
			}
			var wg sync.WaitGroup
			errs := make([]error, 4)
			for i := range errs {
				wg.Go(func() { errs[i] = insist(t, f, fmt.Sprintf("Text %d is spoken by whoever is well.", i)) })
			}
			await(t, f, false)
			for _, s := range servers {
				s.set(func() { s.fault, s.gone = "", false })
			}
			wg.Wait()
			for _, err := range errs {
				require.NoError(t, err)
			}
		})
	}
}

func TestAServerThatIsKilledCostsNoText(t *testing.T) {
	t.Parallel()
	well, dead := serve(t), serve(t)
	f := fleetOf(t, settings(t, well, dead))
	await(t, f, true)
	dead.Stop()
	for i := range 20 {
		require.NoError(t, insist(t, f, enginetest.Sentence(i)))
	}
	require.Equal(t, 1, f.State().Well)
}
