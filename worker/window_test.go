package worker

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/platform/bus"
	"github.com/voicemill/voicemill/worker/internal/engine"
	"github.com/voicemill/voicemill/worker/internal/engineset"
	"github.com/voicemill/voicemill/worker/internal/fleet"
	"github.com/voicemill/voicemill/worker/internal/plantest"
)

func TestTheSchedulerHearsWhatBulkWorkGetsWhileInteractiveWorkComes(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	heard := make(chan bus.Capacity, 1000)
	background(t, func(ctx context.Context) error {
		return w.bus.Notes(ctx, nil, func(c bus.Capacity) {
			if c.Pool == "test" {
				heard <- c
			}
		})
	})
	pool := testPool()
	pool.Batch, pool.EasedCalls = 1, 1
	deps := w.deps(t)
	s, err := build(t.Context(), quickConfig(), deps, connected(deps), nil, []Pool{pool}, []*fleet.Fleet{fleetOf(t, quickConfig(), &scripted{})})
	require.NoError(t, err)
	background(t, s.run)
	await := func(slots, spared int) {
		t.Helper()
		for limit := time.After(within); ; {
			select {
			case c := <-heard:
				if c.Slots == slots && c.Spared == spared {
					return
				}
			case <-limit:
				t.Fatalf("nobody tells of %d slots of which %d are spared", slots, spared)
			}
		}
	}
	await(2, 0)
	p := plantest.Insert(t, w.db, plantest.Book{Class: job.Interactive, Chapters: []plantest.Chapter{plantest.Sentences("One", "A note.")}})
	plantest.Schedule(t, w.db, w.bus, p)
	await(2, 1)
	require.Equal(t, job.StateSucceeded, plantest.AwaitEnd(t, w.db, p, within))
}

// ear hears nothing; it is only passed on.
type ear struct{}

func (ear) Wrong(context.Context, engine.Request, engine.Audio) (float64, error) { return 1, nil }

func TestWhoeverHearsIsAskedOfNewEngines(t *testing.T) {
	t.Parallel()
	admission := func(p Pool) *fleet.Admission {
		return DefaultConfig().fleet(p, ear{}, nil, slog.New(slog.DiscardHandler)).Admission
	}
	for _, name := range []string{engineset.OpenAISpeech, engineset.Triton} {
		require.Equal(t, ear{}, admission(Pool{Name: "p", Engine: name}).Ear, name)
	}
	require.Nil(t, admission(Pool{Name: "p", Engine: engineset.Espeak}))
	require.Nil(t, admission(Pool{Name: "p", Engine: engineset.Triton, Admission: "off"}))
}

func TestServersThatBatchByThemselvesAreEasedForInteractiveWork(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		pool Pool
		want int
	}{
		"the engines say":               {Pool{Engine: engineset.OpenAISpeech}, 0},
		"3 of 8":                        {Pool{Engine: engineset.OpenAISpeech, Calls: 24}, 9},
		"as it says":                    {Pool{Engine: engineset.OpenAISpeech, EasedCalls: 5}, 5},
		"a batch ends as a whole":       {Pool{Engine: engineset.OpenAISpeech, Batch: 8}, 0},
		"processes do not slow another": {Pool{Engine: engineset.Espeak}, 0},
	} {
		cc := DefaultConfig().consume(c.pool, engine.Info{MaxBatch: 8, Window: 24})
		require.Equal(t, c.want, cc.Eased, name)
	}
}
