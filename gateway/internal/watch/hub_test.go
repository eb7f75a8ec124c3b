package watch_test

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/voicemill/voicemill/gateway/internal/watch"
	"github.com/voicemill/voicemill/job"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type table struct {
	mu    sync.Mutex
	rows  map[job.ID]watch.Version
	err   error
	reads int
}

func (t *table) set(id job.ID, v watch.Version) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.rows[id] = v
}

func (t *table) read() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.reads
}

func (t *table) fail(err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.err = err
}

func (t *table) Versions(_ context.Context, ids []job.ID) (map[job.ID]watch.Version, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.reads++
	if t.err != nil {
		return nil, t.err
	}
	found := map[job.ID]watch.Version{}
	for _, id := range ids {
		if v, ok := t.rows[id]; ok {
			found[id] = v
		}
	}
	return found, nil
}

func hub(t *testing.T, cfg watch.Config) (*watch.Hub, *table, func()) {
	t.Helper()
	rows := &table{rows: map[job.ID]watch.Version{}}
	h, err := watch.New(cfg, rows, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	var run sync.WaitGroup
	run.Go(func() { _ = h.Run(ctx) })
	return h, rows, func() { cancel(); run.Wait() }
}

func waiter(id job.ID, known int64, wait time.Duration) (*watch.Waiter, *atomic.Int32) {
	var woken atomic.Int32
	return &watch.Waiter{Job: id, Tenant: "t", Known: known, Until: time.Now().Add(wait), Wake: func() { woken.Add(1) }}, &woken
}

func TestAHintWakesWithinATick(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		cfg := watch.DefaultConfig()
		h, rows, stop := hub(t, cfg)
		defer stop()
		rows.set("a", watch.Version{N: 3})
		w, woken := waiter("a", 3, time.Minute)
		_, err := h.Wait(w)
		require.NoError(t, err)
		time.Sleep(10 * time.Second)
		require.Zero(t, woken.Load())
		time.Sleep(cfg.Tick / 2)
		rows.set("a", watch.Version{N: 4})
		h.Hint("a")
		h.Hint("nobody waits for this")
		time.Sleep(cfg.Tick + 1)
		synctest.Wait()
		require.Equal(t, int32(1), woken.Load())
		require.Zero(t, h.Waiting())
	})
}

func TestWhoWaitsForSoundIsNotWokenByItsPlan(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h, rows, stop := hub(t, watch.DefaultConfig())
		defer stop()
		w, woken := waiter("a", 0, time.Hour)
		w.Settled = true
		_, err := h.Wait(w)
		require.NoError(t, err)
		for n, want := range []int32{0, 0, 1} {
			rows.set("a", watch.Version{N: int64(n + 1), Settled: n == 2})
			h.Hint("a")
			time.Sleep(time.Second)
			require.Equal(t, want, woken.Load(), "at version %d", n+1)
		}

		w, woken = waiter("b", 0, time.Hour)
		w.Settled = true
		_, err = h.Wait(w)
		require.NoError(t, err)
		rows.set("b", watch.Version{N: 1, Final: true})
		time.Sleep(2 * time.Second)
		require.EqualValues(t, 1, woken.Load(), "there will be no sound")
	})
}

// A version that only says that a job is planned costs who waits for sound no look.
func TestAQuietHintIsForThoseWhoWaitForMore(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		cfg := watch.DefaultConfig()
		cfg.Sweep = time.Hour
		h, rows, stop := hub(t, cfg)
		defer stop()
		sound, heard := waiter("a", 0, time.Hour)
		sound.Settled = true
		end, ended := waiter("a", 0, time.Hour)
		end.FinalOnly = true
		for _, w := range []*watch.Waiter{sound, end} {
			_, err := h.Wait(w)
			require.NoError(t, err)
		}
		time.Sleep(time.Second)
		looked := rows.read()
		rows.set("a", watch.Version{N: 1})
		h.HintQuietly("a")
		time.Sleep(time.Second)
		require.Equal(t, looked, rows.read())
		other, moved := waiter("a", 1, time.Hour)
		_, err := h.Wait(other)
		require.NoError(t, err)
		time.Sleep(time.Second)
		rows.set("a", watch.Version{N: 2})
		h.HintQuietly("a")
		time.Sleep(time.Second)
		require.EqualValues(t, 1, moved.Load())
		require.Zero(t, heard.Load()+ended.Load())
	})
}

func TestALostHintCostsASweep(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		cfg := watch.DefaultConfig()
		h, rows, stop := hub(t, cfg)
		defer stop()
		w, woken := waiter("a", 0, time.Minute)
		_, err := h.Wait(w)
		require.NoError(t, err)
		time.Sleep(5 * time.Second)
		rows.set("a", watch.Version{N: 1})
		time.Sleep(cfg.Sweep + cfg.Tick)
		synctest.Wait()
		require.Equal(t, int32(1), woken.Load())
	})
}

func TestTheTimeIsKeptEvenIfTheDatabaseIsAway(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		cfg := watch.DefaultConfig()
		h, rows, stop := hub(t, cfg)
		defer stop()
		rows.fail(errors.New("away"))
		w, woken := waiter("a", 0, 3*time.Second)
		_, err := h.Wait(w)
		require.NoError(t, err)
		time.Sleep(3*time.Second - 1)
		require.Zero(t, woken.Load())
		time.Sleep(cfg.Tick + 1)
		synctest.Wait()
		require.Equal(t, int32(1), woken.Load())
	})
}

func TestFinalOnlySleepsThroughProgress(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h, rows, stop := hub(t, watch.DefaultConfig())
		defer stop()
		w, woken := waiter("a", 0, time.Minute)
		w.FinalOnly = true
		_, err := h.Wait(w)
		require.NoError(t, err)
		for n := range int64(10) {
			rows.set("a", watch.Version{N: n})
			h.Hint("a")
			time.Sleep(time.Second)
		}
		require.Zero(t, woken.Load())
		rows.set("a", watch.Version{N: 11, Final: true})
		time.Sleep(2 * time.Second)
		require.Equal(t, int32(1), woken.Load())
	})
}

func TestACancelledWaiterIsNotWoken(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h, _, stop := hub(t, watch.DefaultConfig())
		defer stop()
		w, woken := waiter("a", 0, time.Second)
		other, otherWoken := waiter("a", 0, time.Second)
		cancel, err := h.Wait(w)
		require.NoError(t, err)
		_, err = h.Wait(other)
		require.NoError(t, err)
		cancel()
		cancel()
		require.Equal(t, 1, h.Waiting())
		time.Sleep(2 * time.Second)
		require.Zero(t, woken.Load())
		require.Equal(t, int32(1), otherWoken.Load())
	})
}

func TestWaitersAreBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		cfg := watch.DefaultConfig()
		cfg.Waiters, cfg.TenantWaiters = 3, 2
		h, _, stop := hub(t, cfg)
		defer stop()
		add := func(tenant job.Tenant) error {
			w, _ := waiter("a", 0, time.Second)
			w.Tenant = tenant
			_, err := h.Wait(w)
			return err
		}
		require.NoError(t, add("x"))
		require.NoError(t, add("x"))
		require.Equal(t, job.Overloaded, job.KindOf(add("x")), "the tenant's share is used up")
		require.NoError(t, add("y"))
		require.Equal(t, job.Overloaded, job.KindOf(add("z")), "the hub is full")
		time.Sleep(2 * time.Second)
		require.NoError(t, add("x"))
	})
}

func TestStoppingWakesEverybody(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h, _, stop := hub(t, watch.DefaultConfig())
		w, woken := waiter("a", 0, time.Hour)
		_, err := h.Wait(w)
		require.NoError(t, err)
		stop()
		require.Equal(t, int32(1), woken.Load())
		_, err = h.Wait(w)
		require.Equal(t, job.Unavailable, job.KindOf(err))
	})
}

func TestManyJobsAreReadInFewQuestions(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		cfg := watch.DefaultConfig()
		cfg.Chunk = 100
		h, rows, stop := hub(t, cfg)
		defer stop()
		for n := range 1000 {
			w, _ := waiter(job.ID(string(rune('a'+n%26))+time.Duration(n).String()), 0, time.Minute)
			_, err := h.Wait(w)
			require.NoError(t, err)
		}
		time.Sleep(cfg.Tick + 1)
		synctest.Wait()
		require.LessOrEqual(t, rows.reads, 11, "the first question may go out while others gather")
	})
}

func TestAWakeThatPanicsHarmsNobodyElse(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h, _, stop := hub(t, watch.DefaultConfig())
		defer stop()
		var woken atomic.Int32
		for _, wake := range []func(){func() { panic("bug: in a callback") }, func() { woken.Add(1) }} {
			_, err := h.Wait(&watch.Waiter{Job: "a", Tenant: "t", Until: time.Now().Add(time.Second), Wake: wake})
			require.NoError(t, err)
		}
		time.Sleep(2 * time.Second)
		require.EqualValues(t, 1, woken.Load())
		require.Zero(t, h.Waiting())
	})
}
