package release_test

import (
	"context"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/platform/bus"
	"github.com/voicemill/voicemill/platform/pg"
	"github.com/voicemill/voicemill/platform/testkit"
	"github.com/voicemill/voicemill/scheduler/internal/release"
	"github.com/voicemill/voicemill/scheduler/internal/storetest"
)

func TestMain(m *testing.M) { testkit.Main(m) }

// soon is the patience of a test with what takes milliseconds.
const soon = 3 * time.Minute

// bench is a loop on real parts. The test plays the planner and the workers.
type bench struct {
	*storetest.Base
	bus *bus.Bus
	cfg release.Config
	r   *release.Releaser

	mu     sync.Mutex // guards events
	events []release.Event
}

func newBench(t *testing.T) *bench {
	t.Helper()
	return over(t, testkit.NATS(t))
}

func over(t *testing.T, b *bus.Bus) *bench {
	t.Helper()
	return benchOver(t, storetest.New(t), b)
}

func benchOver(t *testing.T, base *storetest.Base, b *bus.Bus) *bench {
	t.Helper()
	w := &bench{Base: base, bus: b, cfg: release.DefaultConfig()}
	w.cfg.Tick = 20 * time.Millisecond
	w.lead(t, 1)
	return w
}

// lead gives the lease to the holder with this epoch.
func (w *bench) lead(t *testing.T, epoch int64) {
	t.Helper()
	w.Exec(t, `insert into leases values ('test', $1, 'test', clock_timestamp() + interval '1 day') on conflict (name) do update set epoch = $1`, epoch)
}

// run runs a loop under an epoch until the test ends or stop is called, with a
// worker that takes slots segments of the pool at a time.
func (w *bench) run(t *testing.T, epoch int64, slots int) (stop func()) {
	t.Helper()
	w.r = release.New(w.cfg, release.Deps{Bus: w.bus, Log: testkit.Log(t), Observe: w.observe})
	ctx, cancel := context.WithCancel(t.Context())
	var all sync.WaitGroup
	r := w.r
	all.Go(func() {
		if err := r.Run(ctx, w.Store.Under(pg.Lease{Name: "test", Epoch: epoch})); err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	report := func() {
		r.Capacity(bus.Capacity{Worker: "w", Pool: storetest.Pool, Slots: slots, Batch: 16, Static: true, Goodput: 1000})
	}
	report()
	all.Go(func() {
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				report()
			}
		}
	})
	stop = sync.OnceFunc(func() { cancel(); all.Wait() })
	t.Cleanup(stop)
	return stop
}

func (w *bench) observe(e release.Event) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.events = append(w.events, e)
}

// sum adds up what the loop told metrics.
func (w *bench) sum(of func(release.Event) int) (n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, e := range w.events {
		n += of(e)
	}
	return n
}

// fetch returns the next bundles of a class, n or more segments.
func (w *bench) fetch(t *testing.T, class job.Class, n int) (got []bus.Delivery[bus.Bundle]) {
	t.Helper()
	deadline := time.Now().Add(soon)
	for count := 0; count < n; {
		more, err := w.bus.FetchWork(t.Context(), storetest.Pool, class, 16, 100*time.Millisecond)
		if err != nil && time.Now().Before(deadline) {
			continue // WORK is being made anew
		}
		require.NoError(t, err)
		for _, d := range more {
			count += len(d.Value.Segments)
		}
		got = append(got, more...)
		require.True(t, time.Now().Before(deadline), "only %d of %d segments came", count, n)
	}
	return got
}

// finish settles bundles as a worker does.
func (w *bench) finish(t *testing.T, got []bus.Delivery[bus.Bundle]) {
	t.Helper()
	for _, d := range got {
		var notes []bus.Settled
		for _, g := range d.Value.Segments {
			w.Done(t, d.Value.JobID, g.N, d.Value.Attempt)
			notes = append(notes, bus.Settled{
				Job: d.Value.Job, N: g.N, Attempt: d.Value.Attempt, Tenant: d.Value.Tenant, Class: d.Value.Class, Pool: d.Value.Pool,
				Predicted: g.PredictedSeconds, Actual: g.PredictedSeconds,
			})
		}
		require.NoError(t, d.Ack(t.Context()))
		w.r.Settled(notes)
	}
}

func seconds(n int, each float64) []float64 {
	list := make([]float64, n)
	for i := range list {
		list[i] = each
	}
	return list
}

func bulk() job.Spec { return job.Spec{Class: job.Bulk} }

func TestEverySegmentOfAJobGoesOutOnce(t *testing.T) {
	t.Parallel()
	w := newBench(t)
	id := w.Queue(t, storetest.Tenant, bulk(), seconds(200, 3)...)
	w.run(t, 1, 32)
	seen := map[int]bool{}
	for len(seen) < 200 {
		got := w.fetch(t, job.Bulk, 1)
		for _, d := range got {
			require.Equal(t, 1, d.Value.Attempt)
			for _, g := range d.Value.Segments {
				require.False(t, seen[g.N], "segment %d came twice", g.N)
				seen[g.N] = true
			}
		}
		out := w.Count(t, `select coalesce(sum(bit_count(mask::bit(64))), 0) from outstanding`)
		require.LessOrEqual(t, out, 32+2*32, "no more is out than the workers take, and two batches for each")
		w.finish(t, got)
	}
	state, _, _ := w.State(t, id)
	require.Equal(t, job.StateAssembling, state)
	require.Zero(t, w.Count(t, `select count(*) from queues`)+w.Count(t, `select count(*) from outstanding`))
	require.Eventually(t, func() bool { return w.sum(func(e release.Event) int { return e.Out }) == 1 }, soon, time.Millisecond, "the join is out")
	require.Eventually(t, func() bool { return w.sum(func(e release.Event) int { return e.Released }) == 201 }, soon, time.Millisecond)
}

func TestOneWhoWantsToHearOfTheStartIsTold(t *testing.T) {
	t.Parallel()
	w := newBench(t)
	spec := bulk()
	spec.Callback = &job.Callback{URL: "https://example.org/x", Events: []string{job.EventStarted}}
	id := w.Queue(t, storetest.Tenant, spec, 1, 1)
	w.run(t, 1, 1)
	w.fetch(t, job.Bulk, 1)
	state, _, _ := w.State(t, id)
	require.Equal(t, job.StateRunning, state)
	require.Equal(t, 1, w.Count(t, `select count(*) from deliveries where job_id = $1 and event = 'job.started' and url = 'https://example.org/x'`, id))
}

func TestNothingIsLetOutForAPoolThatNobodyWorksFor(t *testing.T) {
	t.Parallel()
	w := newBench(t)
	w.Queue(t, storetest.Tenant, bulk(), 1)
	w.run(t, 1, 0)
	got, err := w.bus.FetchWork(t.Context(), storetest.Pool, job.Bulk, 1, 500*time.Millisecond)
	require.NoError(t, err)
	require.Empty(t, got)
}

func TestALeaderWithoutItsLeaseLetsNothingOut(t *testing.T) {
	t.Parallel()
	w := newBench(t)
	w.Queue(t, storetest.Tenant, bulk(), seconds(64, 1)...)
	w.lead(t, 2)
	r := release.New(w.cfg, release.Deps{Bus: w.bus, Log: testkit.Log(t), Observe: w.observe})
	r.Capacity(bus.Capacity{Worker: "w", Pool: storetest.Pool, Slots: 16, Batch: 16})
	require.NoError(t, r.Run(t.Context(), w.Store.Under(pg.Lease{Name: "test", Epoch: 1})), "it ends by itself")
	require.Zero(t, w.Count(t, `select count(*) from outstanding`))
	require.Equal(t, 1, w.Count(t, `select count(*) from queues where next = 0`))
}

func TestANewLeaderPublishesWhatTheOldOneOnlyMarked(t *testing.T) {
	t.Parallel()
	w := newBench(t)
	id := w.Queue(t, storetest.Tenant, bulk(), seconds(20, 1)...)
	w.Exec(t, `insert into outstanding (job, n, attempt, pool, mask, seconds) select num, 1, 1, $2, 65535, 16 from jobs where id = $1`, id, storetest.Pool)
	w.Exec(t, `update queues set next = 16`)
	w.run(t, 1, 64)
	got := w.fetch(t, job.Bulk, 20)
	require.True(t, slices.ContainsFunc(got, func(d bus.Delivery[bus.Bundle]) bool { return len(d.Value.Segments) == 16 }), "what was marked comes as it was")
	w.finish(t, got)
	state, _, _ := w.State(t, id)
	require.Equal(t, job.StateAssembling, state)
}

func TestWhatIsOutComesAgainAtOnceWhenTheBusHasLostIt(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := testkit.NATSServer(t, dir)
	w := over(t, testkit.Bus(t, s, bus.Config{}))
	w.Queue(t, storetest.Tenant, bulk(), seconds(64, 1)...)
	stop := w.run(t, 1, 32)
	w.fetch(t, job.Bulk, 64)
	stop()
	s.Stop()
	w.bus = testkit.Bus(t, testkit.NATSServer(t, dir), bus.Config{})
	begin := time.Now()
	w.run(t, 1, 32)
	w.finish(t, w.fetch(t, job.Bulk, 64))
	require.Less(t, time.Since(begin), 2*w.bus.AckWait(), "no sweep can have done it")
	require.Zero(t, w.Count(t, `select count(*) from outstanding`))
}

func TestMessagesThatAreLostAreFoundHoweverManyOthersAreOut(t *testing.T) {
	t.Parallel()
	w := newBench(t)
	w.cfg.SweepAfter = 200 * time.Millisecond
	// A pool that nobody works for has more out than one look of the sweep takes.
	dead := w.Queue(t, storetest.Tenant, bulk(), seconds(640, 1)...)
	w.Exec(t, `insert into outstanding (job, n, attempt, pool, mask, seconds)
		select num, n, 1, 'dead', 1::bigint << ((n - 1) % 64), 1 from jobs, generate_series(1, 640) n where id = $1`, dead)
	w.Exec(t, `delete from queues`)
	w.Queue(t, storetest.Tenant, bulk(), 1)
	w.run(t, 1, 32)
	got := w.fetch(t, job.Bulk, 1)
	require.NoError(t, got[0].Ack(t.Context())) // the worker forgot to settle it
	again := w.fetch(t, job.Bulk, 1)
	require.Equal(t, got[0].Value, again[0].Value)
	w.finish(t, again)
	require.Positive(t, w.sum(func(e release.Event) int { return e.Swept }))
}

func TestATextThatNoMessageCanCarryFailsAloneAndStopsNobody(t *testing.T) {
	t.Parallel()
	w := newBench(t)
	big := w.Queue(t, storetest.Tenant, bulk(), seconds(4, 1)...)
	w.Exec(t, `update blocks set texts[2] = $1`, strings.Repeat("x", bus.MaxMessageBytes))
	other := w.Queue(t, storetest.Tenant, bulk(), 1, 1)
	w.run(t, 1, 64)
	w.finish(t, w.fetch(t, job.Bulk, 5))
	require.Eventually(t, func() bool {
		return w.Count(t, `select count(*) from exceptions where n = 2 and state = 'failed' and error_kind = 'too_large'`) == 1
	}, soon, 10*time.Millisecond)
	state, _, _ := w.State(t, other)
	require.Equal(t, job.StateAssembling, state)
	require.Equal(t, 1, w.Count(t, `select segments_failed from jobs where id = $1`, big))
	require.Zero(t, w.Count(t, `select count(*) from outstanding`))
}

func TestWhatTwoJobsNeedIsSpokenOnce(t *testing.T) {
	t.Parallel()
	w := newBench(t)
	w.Queue(t, storetest.Tenant, bulk(), 1, 1)
	w.Queue(t, storetest.Tenant, bulk(), 1, 1)
	w.Exec(t, `update blocks set keys = (select keys from blocks order by job limit 1)`)
	w.run(t, 1, 64)
	first := w.fetch(t, job.Bulk, 2)
	require.Eventually(t, func() bool { return w.Count(t, `select count(*) from retries where attempts = 0`) == 2 }, soon, 10*time.Millisecond)
	w.finish(t, first)
	rest := w.fetch(t, job.Bulk, 2) // what the worker settles without a call
	for _, d := range rest {
		require.Equal(t, 1, d.Value.Attempt)
		require.NotEqual(t, first[0].Value.Job, d.Value.Job)
	}
}

func TestASegmentThatFailedComesAgainAlone(t *testing.T) {
	t.Parallel()
	w := newBench(t)
	w.Queue(t, storetest.Tenant, bulk(), seconds(4, 1)...)
	w.run(t, 1, 64)
	got := w.fetch(t, job.Bulk, 4)
	w.Exec(t, `delete from outstanding where mask = 2`)
	w.Exec(t, `update outstanding set mask = mask & ~2::bigint where mask & 2 <> 0`)
	w.Exec(t, `insert into retries (job, n, pool, attempts, solo, error_kind) select num, 2, $1, 1, true, 'engine' from jobs`, storetest.Pool)
	again := w.fetch(t, job.Bulk, 1)
	require.Len(t, again, 1)
	require.True(t, again[0].Value.Solo)
	require.Equal(t, 2, again[0].Value.Attempt)
	require.Equal(t, 2, again[0].Value.N())
	w.finish(t, got)
	w.finish(t, again)
	require.Zero(t, w.Count(t, `select count(*) from outstanding`))
}

func TestNothingOfACancelledJobGoesOut(t *testing.T) {
	t.Parallel()
	w := newBench(t)
	id := w.Queue(t, storetest.Tenant, bulk(), seconds(200, 1)...)
	w.run(t, 1, 16)
	w.fetch(t, job.Bulk, 32)
	w.Cancel(t, id)
	require.NoError(t, w.bus.PurgeJob(t.Context(), id))
	other := w.Queue(t, storetest.Tenant, bulk(), seconds(4, 1)...)
	for _, d := range w.fetch(t, job.Bulk, 4) {
		require.Equal(t, other, d.Value.JobID)
	}
	require.Zero(t, w.Count(t, `select count(*) from outstanding o join jobs j on j.num = o.job where j.id = $1`, id))
}

func TestAListenerDoesNotWaitBehindTheJoinsOfBooks(t *testing.T) {
	t.Parallel()
	w := newBench(t)
	w.cfg.Joins = 2
	for range 20 {
		w.due(t, job.Bulk)
	}
	w.run(t, 1, 1)
	books, err := w.bus.FetchAssembly(t.Context(), job.Bulk, 16, soon)
	require.NoError(t, err)
	require.LessOrEqual(t, len(books), 4)
	listener := w.due(t, job.Interactive)
	for _, d := range books { // each makes room for one
		require.NoError(t, d.Ack(t.Context()))
		w.Exec(t, `delete from outbox where job_id = $1`, d.Value.JobID)
		break
	}
	got, err := w.bus.FetchAssembly(t.Context(), job.Interactive, 16, soon)
	require.NoError(t, err)
	require.Len(t, got, 1)
	require.Equal(t, bus.Assembly{JobID: listener, Ordinal: 1, Attempt: 1, Class: job.Interactive}, got[0].Value)
}

// due stores a job whose only chapter is due for joining.
func (w *bench) due(t *testing.T, class job.Class) job.ID {
	t.Helper()
	id := w.Queue(t, storetest.Tenant, job.Spec{Class: class}, 1, 1)
	w.Exec(t, `delete from queues`)
	w.Exec(t, `update jobs set state = 'assembling', segments_done = segments_total where id = $1`, id)
	w.Exec(t, `update chapters set state = 'assembling', segments_done = segments_total where job_id = $1`, id)
	w.Exec(t, `insert into outbox (kind, job_id, ordinal) values ('assemble', $1, 1)`, id)
	return id
}

func TestAJoinThatWasPutAsideStopsNobody(t *testing.T) {
	t.Parallel()
	w := newBench(t)
	w.cfg.Joins = 1
	poison := w.due(t, job.Bulk)
	w.Exec(t, `update outbox set attempt = 5, parked_at = clock_timestamp(), error_kind = 'internal', error_detail = 'x' where job_id = $1`, poison)
	late := w.due(t, job.Bulk)
	w.Exec(t, `update outbox set attempt = 1, not_before = clock_timestamp() + interval '1 hour' where job_id = $1`, late)
	good := w.due(t, job.Bulk)
	w.run(t, 1, 1)
	got, err := w.bus.FetchAssembly(t.Context(), job.Bulk, 16, soon)
	require.NoError(t, err)
	require.Len(t, got, 1)
	require.Equal(t, good, got[0].Value.JobID)
}

func TestATenantWithManyJobsLeavesRoomForOthers(t *testing.T) {
	t.Parallel()
	const others = 4800 // more than is kept in memory of a tenant, and of all together here
	w := newBench(t)
	w.cfg.Waiting = 4500
	w.AddTenant(t, "other")
	id := w.Queue(t, storetest.Tenant, bulk(), 1)
	w.Exec(t, `with j as (insert into jobs (id, tenant_id, class, state, spec, on_failure, accepted_at, segments_total)
			select 'job_x' || i, 'default', 'bulk', 'running', '{}', 'fail', clock_timestamp(), 1 from generate_series(1, $3::int) i returning num),
		b as (insert into blocks (job, b, chapters, texts, voices, languages, pools, documents, starts, ends, breaks, seconds, rates, keys, turns)
			select j.num, 0, chapters, texts, voices, languages, pools, documents, starts, ends, breaks, seconds, rates, sha256(int8send(j.num)), turns
			from j, blocks where blocks.job = (select num from jobs where id = $1))
		insert into queues (job, pool, seconds) select num, $2, 1 from j`, id, storetest.Pool, others)
	late := w.Queue(t, "other", bulk(), 1)

	stop := w.run(t, 1, 16)
	through, seen := 0, false
	for !seen {
		require.Less(t, through, 300, "others came first")
		for _, d := range w.fetch(t, job.Bulk, 1) {
			seen = seen || d.Value.JobID == late
			through += len(d.Value.Segments)
			w.finish(t, []bus.Delivery[bus.Bundle]{d})
		}
	}
	stop()
	w.run(t, 1, 2*others) // now there is room: what was not in memory follows
	all := func() bool { return w.Count(t, `select count(*) from outstanding`) == others+2-through }
	require.Eventually(t, all, soon, 100*time.Millisecond)
}

func TestAQueryThatIsRefusedIsAskedLessAndLess(t *testing.T) {
	t.Parallel()
	w := newBench(t)
	w.Exec(t, `alter table outstanding rename column mask to renamed`)
	tries := w.Count(t, `select xact_rollback from pg_stat_database where datname = current_database()`)
	w.run(t, 1, 1)
	w.fetchNothing(t, 3*time.Second)
	w.Exec(t, `select pg_stat_force_next_flush()`)
	again := w.Count(t, `select xact_rollback from pg_stat_database where datname = current_database()`) - tries
	require.LessOrEqual(t, again, 12, "pauses that double from 50 ms")
}

func (w *bench) fetchNothing(t *testing.T, d time.Duration) {
	t.Helper()
	got, err := w.bus.FetchWork(t.Context(), storetest.Pool, job.Bulk, 1, d)
	require.NoError(t, err)
	require.Empty(t, got)
}
