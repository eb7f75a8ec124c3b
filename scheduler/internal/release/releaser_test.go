package release_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/platform/bus"
	"github.com/voicemill/voicemill/platform/testkit"
	"github.com/voicemill/voicemill/scheduler/internal/release"
	"github.com/voicemill/voicemill/scheduler/internal/storetest"
)

func TestMain(m *testing.M) { testkit.Main(m) }

// bench is a Releaser on a real database and a real bus.
type bench struct {
	*storetest.Base
	bus *bus.Bus
	r   *release.Releaser

	mu    sync.Mutex
	swept int
}

func newBench(t *testing.T, change func(*release.Config)) *bench {
	t.Helper()
	b := &bench{Base: storetest.New(t), bus: testkit.NATS(t)}
	cfg := release.DefaultConfig()
	if change != nil {
		change(&cfg)
	}
	require.NoError(t, cfg.Validate())
	b.r = release.New(cfg, release.Deps{Store: b.Store, Bus: b.bus, Log: testkit.Log(t), Observe: func(e release.Event) {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.swept += e.Swept
	}})
	return b
}

// run runs the Releaser until the test ends or stop is called.
func (b *bench) run(t *testing.T) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- b.r.Run(ctx) }()
	var once sync.Once
	stop = func() {
		once.Do(func() {
			cancel()
			require.NoError(t, <-done)
		})
	}
	t.Cleanup(stop)
	return stop
}

// fetch takes work until there are n, or fails.
func (b *bench) fetch(t *testing.T, class job.Class, n int) []bus.Delivery[bus.Work] {
	t.Helper()
	var all []bus.Delivery[bus.Work]
	for len(all) < n {
		got, err := b.bus.FetchWork(t.Context(), storetest.Pool, class, n-len(all), time.Minute)
		require.NoError(t, err)
		require.NotEmpty(t, got, "%d of %d segments came", len(all), n)
		all = append(all, got...)
	}
	return all
}

// nothing asserts that no work is there.
func (b *bench) nothing(t *testing.T, class job.Class, within time.Duration) {
	t.Helper()
	got, err := b.bus.FetchWork(t.Context(), storetest.Pool, class, 1, within)
	require.NoError(t, err)
	require.Empty(t, got)
}

func (b *bench) finish(t *testing.T, d bus.Delivery[bus.Work]) {
	t.Helper()
	require.True(t, b.Done(t, d.Value.JobID, d.Value.N, d.Value.Attempt), "segment %d was not fenced as released", d.Value.N)
	require.NoError(t, d.Ack(t.Context()))
	b.r.Hint()
}

func seconds(n int, each float64) []float64 {
	out := make([]float64, n)
	for i := range out {
		out[i] = each
	}
	return out
}

func TestAQueuedJobIsReleasedWholeAndStarted(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil)
	b.run(t)
	spec := job.Spec{Speed: 1.5, Seed: 7, Callback: &job.Callback{URL: "https://example.org/hook", Events: []string{job.EventStarted}}}
	id := b.Queue(t, storetest.Tenant, spec, 3, 4)
	b.r.Notice(id)
	got := b.fetch(t, job.Bulk, 2)
	w := got[0].Value
	require.Equal(t, id, w.JobID)
	require.Equal(t, 1, w.Attempt)
	require.Equal(t, storetest.Voice, w.Voice)
	require.Equal(t, storetest.SampleRate, w.SampleRate)
	require.InDelta(t, 1.5, w.Speed, 0)
	require.EqualValues(t, 7, w.Seed)
	require.NotEmpty(t, w.Text)
	require.Len(t, w.RenditionKey, 64)
	require.False(t, w.Solo)
	state, _, _ := b.State(t, id)
	require.Equal(t, job.StateRunning, state)
	require.Equal(t, 1, b.Count(t, `select count(*) from deliveries where job_id = $1 and event = 'job.started'`, id))
	for _, d := range got {
		b.finish(t, d)
	}
	state, _, _ = b.State(t, id)
	require.Equal(t, job.StateAssembling, state)
	require.Equal(t, 1, b.Count(t, `select count(*) from outbox where job_id = $1`, id))
}

func TestAJobThatNobodyAnnouncedIsFound(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil)
	b.run(t)
	b.Queue(t, storetest.Tenant, job.Spec{Class: job.Interactive}, 3)
	b.fetch(t, job.Interactive, 1)
}

// The window bounds what is out at any moment, and moves on as work is done.
func TestTheWindowBoundsWhatIsOut(t *testing.T) {
	t.Parallel()
	b := newBench(t, func(c *release.Config) {
		c.WindowSeconds, c.BundleSeconds, c.MinSegments, c.MaxSegments = 60, 15, 2, 20
		c.Window = time.Millisecond // the pace must not widen it
	})
	b.run(t)
	id := b.Queue(t, storetest.Tenant, job.Spec{}, seconds(100, 10)...)
	b.r.Notice(id)
	seen := map[int]bool{}
	for done := 0; done < 100; {
		got := b.fetch(t, job.Bulk, min(6, 100-done))
		for _, d := range got {
			require.False(t, seen[d.Value.N], "segment %d came twice", d.Value.N)
			seen[d.Value.N] = true
		}
		require.LessOrEqual(t, b.Count(t, `select count(*) from segments where state = 'released'`), 6)
		for _, d := range got {
			b.finish(t, d)
		}
		done += len(got)
	}
	require.Len(t, seen, 100)
}

func TestInteractiveWorkPassesALongBacklog(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil)
	b.run(t)
	b.r.Notice(b.Queue(t, storetest.Tenant, job.Spec{}, seconds(500, 10)...))
	b.fetch(t, job.Bulk, 1)
	// Nobody speaks the bulk work, and its window is full.
	b.r.Notice(b.Queue(t, storetest.Tenant, job.Spec{Class: job.Interactive}, 2))
	b.fetch(t, job.Interactive, 1)
	require.Positive(t, b.Count(t, `select count(*) from segments where state = 'pending'`))
}

func TestARetryComesAgainWhenItIsDueAlone(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil)
	b.run(t)
	id := b.Queue(t, storetest.Tenant, job.Spec{}, 3)
	b.r.Notice(id)
	d := b.fetch(t, job.Bulk, 1)[0]
	start := time.Now()
	b.Exec(t, `update segments set state = 'pending', released_at = null, not_before = now() + interval '300 ms' where job_id = $1`, id)
	require.NoError(t, d.Ack(t.Context()))
	again := b.fetch(t, job.Bulk, 1)[0].Value
	require.GreaterOrEqual(t, time.Since(start), 200*time.Millisecond)
	require.Equal(t, 2, again.Attempt)
	require.True(t, again.Solo)
}

func TestACancelledJobLeavesWork(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil)
	b.run(t)
	id := b.Queue(t, storetest.Tenant, job.Spec{}, seconds(200, 10)...)
	b.r.Notice(id)
	require.Eventually(t, func() bool {
		pending, _, err := b.bus.WorkPending(t.Context(), storetest.Pool, job.Bulk)
		return err == nil && pending >= 32
	}, time.Minute, 10*time.Millisecond)
	b.Cancel(t, id)
	b.r.Hint()
	require.Eventually(t, func() bool {
		pending, _, err := b.bus.WorkPending(t.Context(), storetest.Pool, job.Bulk)
		return err == nil && pending == 0
	}, time.Minute, 10*time.Millisecond)
	b.nothing(t, job.Bulk, 300*time.Millisecond)
	require.Zero(t, b.Count(t, `select count(*) from segments where state in ('pending', 'released')`))
}

// A scheduler that died between the mark and the publish left a row without a
// message; the next one publishes it at once, with the same attempt.
func TestAMarkWithoutAMessageIsPublishedByTheNextLeader(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil)
	id := b.Queue(t, storetest.Tenant, job.Spec{}, 3)
	b.Exec(t, `update segments set state = 'released', attempt = 1, released_at = now() where job_id = $1`, id)
	b.run(t)
	require.Equal(t, 1, b.fetch(t, job.Bulk, 1)[0].Value.Attempt)
}

func TestTheSweepPublishesALostMessageOnceMore(t *testing.T) {
	t.Parallel()
	b := newBench(t, func(c *release.Config) { c.SweepAfter = time.Second })
	b.run(t)
	id := b.Queue(t, storetest.Tenant, job.Spec{}, 3, 3)
	b.r.Notice(id)
	got := b.fetch(t, job.Bulk, 2)
	require.NoError(t, got[0].Ack(t.Context())) // acknowledged without a commit: the message is lost
	again := b.fetch(t, job.Bulk, 1)[0]
	require.Equal(t, got[0].Value.N, again.Value.N)
	require.Equal(t, 1, again.Value.Attempt)
	b.finish(t, again)
	b.finish(t, got[1])
	b.nothing(t, job.Bulk, 200*time.Millisecond) // the other one was with a worker all the time
	b.mu.Lock()
	defer b.mu.Unlock()
	require.GreaterOrEqual(t, b.swept, 2)
}

func TestTwoTenantsShareAPool(t *testing.T) {
	t.Parallel()
	b := newBench(t, func(c *release.Config) { c.Window = time.Millisecond })
	b.AddTenant(t, "other")
	first := b.Queue(t, storetest.Tenant, job.Spec{}, seconds(300, 5)...)
	second := b.Queue(t, "other", job.Spec{}, seconds(300, 15)...)
	b.run(t)
	b.r.Notice(first, second)
	served := map[job.ID]float64{}
	for range 20 {
		for _, d := range b.fetch(t, job.Bulk, 6) {
			served[d.Value.JobID] += d.Value.PredictedSeconds
			b.finish(t, d)
		}
	}
	require.InDelta(t, served[first], served[second], 60+30, "a window and two bundles")
	require.Positive(t, b.Count(t, `select count(*) from tenant_sched where vtime > 0`))
}

func TestStopEndsTheRun(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil)
	stop := b.run(t)
	stop()
	stop() // twice is harmless
	b.Queue(t, storetest.Tenant, job.Spec{}, 3)
	b.nothing(t, job.Bulk, 200*time.Millisecond)
	b.run(t) // and it may run again
	b.fetch(t, job.Bulk, 1)
}
