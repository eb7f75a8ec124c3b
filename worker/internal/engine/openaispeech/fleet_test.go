package openaispeech

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

// together returns a fleet of all backends of cfg.
func together(t *testing.T, cfg Config) *fleet.Fleet {
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

// await waits until f takes work.
func await(t *testing.T, f *fleet.Fleet) {
	t.Helper()
	for {
		ready, changed := f.Ready()
		if ready {
			return
		}
		select {
		case <-changed:
		case <-time.After(time.Minute):
			t.Fatal("the fleet never becomes well")
		}
	}
}

// insist has a text spoken however often it is given back, and returns what it is charged with.
func insist(t *testing.T, f *fleet.Fleet, text string) error {
	t.Helper()
	for {
		await(t, f)
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
	for _, fault := range []string{"500", "502", "RESET", "CUT", "CUTCLEAN", "EMPTY", "HANG", "HANGBODY", "400", "401", "404", "429", "503", "SILENCE", "SHORT", "JSON", "JSONASWAV", "RATE"} {
		t.Run(fault, func(t *testing.T) {
			t.Parallel()
			a, b := serve(t, VLLMOmni), serve(t, VLLMOmni)
			cfg := settings(t, a, b)
			cfg.MinTimeout, cfg.TimeoutFactor = 400*time.Millisecond, 1
			f := together(t, cfg)
			await(t, f)
			for _, s := range []*server{a, b} {
				s.set(func() { s.fault = fault })
			}
			var wg sync.WaitGroup
			errs := make([]error, 6)
			for i := range errs {
				wg.Go(func() { errs[i] = insist(t, f, fmt.Sprintf("Text %d is spoken by whoever is well.", i)) })
			}
			time.AfterFunc(1500*time.Millisecond, func() {
				for _, s := range []*server{a, b} {
					s.set(func() { s.fault = "" })
				}
			})
			wg.Wait()
			for _, err := range errs {
				require.NoError(t, err)
			}
		})
	}
}

func TestADeadServerCostsNoText(t *testing.T) {
	t.Parallel()
	well, dead := serve(t, VLLMOmni), serve(t, VLLMOmni)
	cfg := settings(t, well, dead)
	f := together(t, cfg)
	await(t, f)
	dead.Close()
	for i := range 20 {
		require.NoError(t, insist(t, f, enginetest.Sentence(i)))
	}
	require.Equal(t, 1, f.State().Well)
}

func TestTheWindowLimitsEachServer(t *testing.T) {
	t.Parallel()
	a, b := serve(t, VLLMOmni), serve(t, VLLMOmni)
	cfg := settings(t, a, b)
	cfg.Window = 3
	f := together(t, cfg)
	require.Equal(t, 6, f.Info().Window)
	await(t, f)
	var wg sync.WaitGroup
	for i := range 60 {
		wg.Go(func() { require.NoError(t, insist(t, f, enginetest.Sentence(i))) })
	}
	wg.Wait()
	for _, s := range []*server{a, b} {
		s.set(func() { require.LessOrEqual(t, s.most, 3) })
		require.GreaterOrEqual(t, len(s.seen()), 20, "the load is shared")
	}
}
