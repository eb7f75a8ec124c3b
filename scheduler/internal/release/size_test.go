package release_test

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/platform/pg"
	"github.com/voicemill/voicemill/platform/testkit"
	"github.com/voicemill/voicemill/scheduler/internal/release"
	"github.com/voicemill/voicemill/scheduler/internal/store"
	"github.com/voicemill/voicemill/scheduler/internal/storetest"
)

const (
	sizeSegments = 4_000 // without VOICEMILL_CORE_SEGMENTS
	perJob       = 500
	chaptersEach = 2     // of a job; a novel has some 200 segments a chapter
	jobsAtATime  = 10    // of one commit of plans
	paced        = 5_000 // segments a second that are released, and that are planned beside it
	pacedFor     = 20    // seconds
)

// TestCoreAtSize plans, releases, settles and joins many segments: as fast as it
// goes, then at a steady pace without and with a planner beside it, then the
// rest. It uses the statements of the worker and prints what each phase took.
// Without an environment it is a test of the same at a small size.
func TestCoreAtSize(t *testing.T) {
	sizes := strings.Fields(os.Getenv("VOICEMILL_CORE_SEGMENTS"))
	database := testkit.DurablePostgres
	if len(sizes) == 0 {
		sizes, database = []string{strconv.Itoa(sizeSegments)}, testkit.Postgres
	}
	var grown []cost
	for _, size := range sizes {
		n, err := strconv.Atoi(size)
		require.NoError(t, err)
		t.Run(size, func(t *testing.T) { grown = append(grown, coreAtSize(t, database(t), n)) })
	}
	if len(sizes) < 2 || t.Failed() {
		return
	}
	t.Log("µs a segment (of a look: a job)")
	for _, c := range grown {
		t.Logf("%9d waiting: plan %.1f, release %.1f, settle %.1f, look at a status %.0f", c.waiting, c.plan, c.release, c.settle, c.status)
	}
}

// cost is what one size took, in microseconds of elapsed time.
type cost struct {
	waiting                       int
	plan, release, settle, status float64
}

func coreAtSize(t *testing.T, db *pg.Pool, n int) (c cost) {
	t.Helper()
	w := benchOver(t, storetest.Over(t, db), testkit.NATS(t))
	w.cfg = release.DefaultConfig()
	statements, err := pg.LoadQueries(os.DirFS("../../../worker/internal/store"), "sql")
	require.NoError(t, err)
	tenants := max(1, min(1000, n/perJob/2))
	for i := range tenants {
		w.AddTenant(t, tenantAt(i))
	}

	begin := w.meter(t)
	p := &planning{bench: w, tenants: tenants}
	p.plan(t, n)
	planned := w.meter(t)
	bytes := w.Count(t, `select sum(pg_total_relation_size(c))::int from unnest(array['blocks', 'queues', 'outstanding', 'retries', 'exceptions']::regclass[]) c`)
	c.waiting, c.plan = n, us(planned.at.Sub(begin.at), n)
	t.Logf("plan: %.1f µs, %d B, %d B of WAL a segment", c.plan, bytes/n, int(planned.wal-begin.wal)/n)
	w.Exec(t, `vacuum analyze`)
	c.status = w.status(t)

	stand := &standIn{bench: w, sql: statements}
	stop := w.start(t, stand)
	for _, phase := range []struct {
		name    string
		pace    int64
		planned int
		upTo    int
	}{
		{"as fast as it goes", 0, 0, n / 2},
		{"5,000 a second", paced, 0, n/2 + min(n/4, pacedFor*paced)},
		{"5,000 a second and as many planned", paced, paced, n/2 + min(n/2, 2*pacedFor*paced)},
	} {
		stand.pace.Store(phase.pace)
		through := p.beside(t, phase.planned)
		cc := w.phase(t, stand, phase.name, phase.upTo)
		through()
		if phase.pace == 0 {
			c.release, c.settle = cc.release, cc.settle
		}
	}
	stand.pace.Store(0)
	w.phase(t, stand, "the rest", p.next)
	require.Eventually(t, func() bool { return w.Count(t, `select count(*) from jobs where state <> 'succeeded'`) == 0 }, soon, 10*time.Millisecond)
	stop()
	require.Zero(t, w.Count(t, `select (select count(*) from outstanding) + (select count(*) from queues) + (select count(*) from retries) + (select count(*) from outbox)`))
	require.Equal(t, p.next, w.Count(t, `select sum(segments_done)::int from jobs`))
	require.Equal(t, p.next, w.Count(t, `select count(*)::int from renditions`))
	end := w.meter(t)
	t.Logf("life of a segment: %d B of WAL; afterwards out, queues, retries and outbox: %d kB; this process, with NATS and the workers: %d MB at its peak", int(end.wal-begin.wal)/p.next,
		w.Count(t, `select sum(pg_total_relation_size(c))::int / 1024 from unnest(array['outstanding', 'queues', 'retries', 'outbox']::regclass[]) c`), testkit.PeakMemory(t, os.Getpid())>>20)
	return c
}

// start runs the loop and everything that a worker does, until stop is called.
func (w *bench) start(t *testing.T, stand *standIn) (stop func()) {
	t.Helper()
	w.r = release.New(w.cfg, release.Deps{Bus: w.bus, Log: testkit.Log(t), Observe: w.observe})
	ctx, cancel := context.WithCancel(t.Context())
	var all sync.WaitGroup
	all.Go(func() {
		if err := w.r.Run(ctx, w.Store.Under(pg.Lease{Name: "test", Epoch: 1})); err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	all.Go(func() { stand.report(ctx) })
	run := func(part func(context.Context) error) {
		all.Go(func() {
			if err := part(ctx); err != nil {
				t.Errorf("stand-in: %v", err)
			}
		})
	}
	for range settlers {
		run(stand.work)
	}
	run(stand.join)
	return func() { cancel(); all.Wait() }
}

// phase waits until so many segments are done and prints what it took.
func (w *bench) phase(t *testing.T, s *standIn, name string, upTo int) (c cost) {
	t.Helper()
	w.steps()
	from, begin, settling := s.settled.Load(), w.meter(t), s.settling.Load()
	deadline := time.Now().Add(30 * time.Minute)
	for s.settled.Load() < int64(upTo) {
		require.True(t, time.Now().Before(deadline) && !t.Failed(), "%s: %d of %d segments", name, s.settled.Load(), upTo)
		select {
		case <-t.Context().Done():
		case <-time.After(5 * time.Millisecond):
		}
	}
	end := w.meter(t)
	n := int(s.settled.Load() - from)
	if n == 0 {
		return c
	}
	took := end.at.Sub(begin.at)
	steps, spent := w.steps()
	c.release, c.settle = us(spent, n), us(time.Duration(s.settling.Load()-settling), n)
	t.Logf("%s: %d segments, %.0f a second; step p50 %s, p99 %s (%d steps); cores: %.2f Postgres, %.2f all else; %d B of WAL a segment",
		name, n, float64(n)/took.Seconds(), at(steps, 0.5), at(steps, 0.99), len(steps),
		(end.server-begin.server).Seconds()/took.Seconds(), (end.self-begin.self).Seconds()/took.Seconds(), int(end.wal-begin.wal)/n)
	return c
}

// steps returns the steps since it was called last, sorted, and what they took in all.
func (w *bench) steps() (list []time.Duration, sum time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, e := range w.events {
		if e.Step > 0 {
			list, sum = append(list, e.Step), sum+e.Step
		}
	}
	w.events = nil
	slices.Sort(list)
	return list, sum
}

// status returns what it takes to read the state of a job, in microseconds.
func (w *bench) status(t *testing.T) float64 {
	t.Helper()
	const looks = 2000
	var ids []string
	w.One(t, `select array_agg(id) from (select id from jobs order by random() limit 1000) j`, nil, &ids)
	begin := time.Now()
	for i := range looks {
		var done int
		w.One(t, `select segments_done from jobs where id = $1`, []any{ids[i%len(ids)]}, &done)
	}
	return us(time.Since(begin), looks)
}

func tenantAt(i int) job.Tenant { return job.Tenant(fmt.Sprintf("tenant-%d", i)) }

// planning stores plans, one job after the other, in turn of every tenant.
type planning struct {
	*bench
	tenants int
	next    int // segments that were planned
}

// plan stores jobs of perJob segments until there are n more.
func (w *planning) plan(t *testing.T, n int) {
	t.Helper()
	for to := w.next + n; w.next < to; {
		var plans []store.Plan
		var ids []string
		for ; len(plans) < jobsAtATime && w.next < to; w.next += min(perJob, to-w.next) {
			tenant := tenantAt(w.next / perJob % w.tenants)
			a := w.Accepted(t, tenant, job.Spec{Class: job.Bulk, Input: job.Input{Text: "unused"}})
			w.Insert(t, a)
			ids = append(ids, string(a.ID))
			plans = append(plans, store.Plan{
				ID: a.ID, Attempt: 1, Tenant: tenant, Class: job.Bulk, Title: "A book", Language: "en",
				Chapters: chapters(w.next, min(perJob, to-w.next)),
			})
		}
		rows, err := w.DB.Query(t.Context(), `update jobs set state = 'planning', plan_attempts = 1 where id = any ($1) returning id, num`, ids)
		require.NoError(t, err)
		nums := map[job.ID]int64{}
		var id job.ID
		var num int64
		_, err = pgx.ForEachRow(rows, []any{&id, &num}, func() error { nums[id] = num; return nil })
		require.NoError(t, err)
		for i := range plans {
			plans[i].Num = nums[plans[i].ID]
		}
		done, err := w.Store.CommitPlans(t.Context(), plans)
		require.NoError(t, err)
		require.Len(t, done, len(plans))
	}
}

// beside plans so many segments a second until the returned function is called.
func (w *planning) beside(t *testing.T, rate int) (through func()) {
	t.Helper()
	if rate == 0 {
		return func() {}
	}
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		tick := time.NewTicker(time.Second * perJob / time.Duration(rate))
		defer tick.Stop()
		for {
			select {
			case <-stop:
				return
			case <-tick.C:
				w.plan(t, perJob)
			}
		}
	}()
	return func() { close(stop); <-stopped }
}

var words = strings.Fields("the of and a to in is was he that it his her you as had with for she not at but be my on have him they which so all this me said from were by one their what been")

// chapters yields chapters of segments of some 190 characters.
func chapters(seed, n int) func(func(*store.Chapter, error) bool) {
	return func(yield func(*store.Chapter, error) bool) {
		for ordinal, first := 1, 1; first <= n; ordinal++ {
			ch := store.Chapter{Ordinal: ordinal, Matter: "body", FirstSegment: first}
			digest := job.NewOrderDigest()
			for ; len(ch.Segments) < perJob/chaptersEach && first <= n; first++ {
				text := prose(seed + first)
				key := job.Rendition{Tenant: job.Tenant(fmt.Sprint(seed)), Pool: storetest.Pool, Voice: storetest.Voice, Text: text + strconv.Itoa(first), SampleRate: storetest.SampleRate}.Key()
				digest.Add(key)
				ch.Segments = append(ch.Segments, store.PlannedSegment{
					N: first, Chapter: ordinal, Text: text, Voice: storetest.Voice, Language: "en", Pool: storetest.Pool, Break: "sentence",
					Seconds: float64(len(text)) / 15, SampleRate: storetest.SampleRate, Characters: len(text), RenditionKey: key,
				})
			}
			ch.Digest = digest.Sum()
			if !yield(&ch, nil) {
				return
			}
		}
	}
}

func prose(seed int) string {
	var b strings.Builder
	x := uint64(seed)*2862933555777941757 + 3037000493 //nolint:gosec // a generator of its own
	for b.Len() < 190 {
		x = x*6364136223846793005 + 1442695040888963407
		b.WriteString(words[x>>33%uint64(len(words))])
		b.WriteByte(' ')
	}
	return b.String()
}
