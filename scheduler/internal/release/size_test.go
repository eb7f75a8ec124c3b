package release_test

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/platform/bus"
	"github.com/voicemill/voicemill/platform/pg"
	"github.com/voicemill/voicemill/platform/testkit"
	"github.com/voicemill/voicemill/scheduler/internal/release"
	"github.com/voicemill/voicemill/scheduler/internal/store"
	"github.com/voicemill/voicemill/scheduler/internal/storetest"
)

const (
	sizeSegments = 4_000 // without VOICEMILL_CORE_SEGMENTS
	perJob       = 500
	jobsAtATime  = 10    // of one commit of plans
	sizeWorkers  = 4     // that settle
	sizeBundles  = 16    // of one settle
	paced        = 5_000 // segments a second of the second half
)

// TestCoreAtSize plans, releases and settles many segments, the one half as fast
// as it goes and the other at a steady pace, with the statements of the worker,
// and prints what that took. Without an environment it is a test of the same at a
// small size.
func TestCoreAtSize(t *testing.T) {
	sizes := strings.Fields(os.Getenv("VOICEMILL_CORE_SEGMENTS"))
	if len(sizes) == 0 {
		sizes = []string{strconv.Itoa(sizeSegments)}
	}
	for _, size := range sizes {
		n, err := strconv.Atoi(size)
		require.NoError(t, err)
		t.Run(size, func(t *testing.T) { coreAtSize(t, n) })
	}
}

// meter is what a phase took.
type meter struct {
	at           time.Time
	wal          int64
	server, self time.Duration
}

func coreAtSize(t *testing.T, n int) {
	t.Helper()
	w := newBench(t)
	settle, err := pg.LoadQueries(os.DirFS("../../../worker/internal/store"), "sql")
	require.NoError(t, err)
	tenants := max(1, min(1000, n/perJob/2))
	for i := range tenants {
		w.AddTenant(t, tenantAt(i))
	}

	begin := w.meter(t)
	w.plan(t, n, tenants)
	planned := w.meter(t)
	bytes := w.Count(t, `select sum(pg_total_relation_size(c))::int from unnest(array['blocks', 'queues', 'outstanding', 'retries', 'exceptions']::regclass[]) c`)
	t.Logf("plan: %.1f µs, %d B, %d B of WAL a segment", us(planned.at.Sub(begin.at), n), bytes/n, int(planned.wal-begin.wal)/n)

	w.Exec(t, `vacuum analyze`)
	stand := &standIn{bench: w, sql: settle}
	w.r = release.New(w.cfg, release.Deps{Bus: w.bus, Log: testkit.Log(t), Observe: w.observe})
	ctx, cancel := context.WithCancel(t.Context())
	var all sync.WaitGroup
	all.Go(func() {
		if err := w.r.Run(ctx, w.Store.Under(pg.Lease{Name: "test", Epoch: 1})); err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	all.Go(func() { stand.report(ctx) })
	for range sizeWorkers {
		all.Go(func() {
			if err := stand.work(ctx); err != nil {
				t.Errorf("settle: %v", err)
			}
		})
	}
	for _, phase := range []struct {
		name string
		pace int64
		upTo int
	}{{"as fast as it goes", 0, n / 2}, {"5,000 a second", paced, n/2 + min(n-n/2, 20*paced)}, {"the rest", 0, n}} {
		stand.pace.Store(phase.pace)
		w.phase(t, stand, phase.name, phase.upTo)
	}
	require.Eventually(t, func() bool { return w.Count(t, `select count(*) from outstanding`) == 0 }, soon, 10*time.Millisecond)
	cancel()
	all.Wait()
	require.Zero(t, w.Count(t, `select count(*) from queues`)+w.Count(t, `select count(*) from retries`))
	require.Equal(t, n, w.Count(t, `select sum(segments_done)::int from jobs`))
	end := w.meter(t)
	t.Logf("life of a segment: %d B of WAL; out and queues at the end: %d kB", int(end.wal-begin.wal)/n,
		w.Count(t, `select (pg_total_relation_size('outstanding') + pg_total_relation_size('queues'))::int / 1024`))
}

func us(d time.Duration, n int) float64 { return float64(d.Microseconds()) / float64(n) }

// phase waits until so many segments are settled and prints what it took.
func (w *bench) phase(t *testing.T, s *standIn, name string, upTo int) {
	t.Helper()
	w.steps(true)
	from, begin := s.settled.Load(), w.meter(t)
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
		return
	}
	took := end.at.Sub(begin.at)
	steps := w.steps(true)
	t.Logf("%s: %d segments, %.0f a second; step p50 %s, p99 %s (%d steps); cores: %.2f Postgres, %.2f all else; %d B of WAL a segment",
		name, n, float64(n)/took.Seconds(), at(steps, 0.5), at(steps, 0.99), len(steps),
		(end.server-begin.server).Seconds()/took.Seconds(), (end.self-begin.self).Seconds()/took.Seconds(), int(end.wal-begin.wal)/n)
}

func at(sorted []time.Duration, share float64) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[int(share*float64(len(sorted)-1))].Round(10 * time.Microsecond)
}

// steps returns the steps since it was called last, sorted.
func (w *bench) steps(forget bool) (list []time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, e := range w.events {
		if e.Step > 0 {
			list = append(list, e.Step)
		}
	}
	if forget {
		w.events = nil
	}
	slices.Sort(list)
	return list
}

func (w *bench) meter(t *testing.T) meter {
	t.Helper()
	m := meter{at: time.Now()}
	var backend int
	w.One(t, `select pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')::bigint, pg_backend_pid()`, nil, &m.wal, &backend)
	m.server = serverTime(t, backend)
	var use syscall.Rusage
	require.NoError(t, syscall.Getrusage(syscall.RUSAGE_SELF, &use))
	m.self = time.Duration(use.Utime.Nano() + use.Stime.Nano())
	return m
}

// serverTime returns what the Postgres that a backend belongs to has used of the
// processor: its processes and those that have ended.
func serverTime(t *testing.T, backend int) (sum time.Duration) {
	t.Helper()
	const tick = 10 * time.Millisecond // of Linux, on every machine that Go knows
	fields := func(path string) []string {
		b, err := os.ReadFile(path) //nolint:gosec // of /proc
		if err != nil {
			return nil
		}
		_, rest, _ := strings.Cut(string(b), ") ")
		return strings.Fields(rest)
	}
	own := fields(fmt.Sprintf("/proc/%d/stat", backend))
	require.NotEmpty(t, own)
	postmaster := own[1]
	paths, err := filepath.Glob("/proc/[0-9]*/stat")
	require.NoError(t, err)
	for _, p := range paths {
		f := fields(p)
		mine := len(f) > 14 && f[1] == postmaster
		if len(f) <= 14 || !mine && p != "/proc/"+postmaster+"/stat" {
			continue
		}
		for _, i := range []int{11, 12, 13, 14} { // user, system, and the same of children
			v, err := strconv.ParseInt(f[i], 10, 64)
			require.NoError(t, err)
			sum += time.Duration(v) * tick
		}
	}
	return sum
}

func tenantAt(i int) job.Tenant { return job.Tenant(fmt.Sprintf("tenant-%d", i)) }

// plan stores jobs of perJob segments, in turn of every tenant.
func (w *bench) plan(t *testing.T, n, tenants int) {
	t.Helper()
	for from := 0; from < n; {
		var plans []store.Plan
		var ids []string
		for ; len(plans) < jobsAtATime && from < n; from += perJob {
			tenant := tenantAt(from / perJob % tenants)
			a := w.Accepted(t, tenant, job.Spec{Class: job.Bulk, Input: job.Input{Text: "unused"}})
			w.Insert(t, a)
			ids = append(ids, string(a.ID))
			plans = append(plans, store.Plan{
				ID: a.ID, Attempt: 1, Tenant: tenant, Class: job.Bulk, Title: "A book", Language: "en",
				Chapters: chapters(from, min(perJob, n-from)),
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

var words = strings.Fields("the of and a to in is was he that it his her you as had with for she not at but be my on have him they which so all this me said from were by one their what been")

// chapters yields ten chapters of segments of some 190 characters.
func chapters(seed, n int) func(func(*store.Chapter, error) bool) {
	return func(yield func(*store.Chapter, error) bool) {
		for ordinal, first := 1, 1; first <= n; ordinal++ {
			ch := store.Chapter{Ordinal: ordinal, Matter: "body", FirstSegment: first}
			digest := job.NewOrderDigest()
			for ; len(ch.Segments) < perJob/10 && first <= n; first++ {
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

// standIn settles what is released with the worker's own statements, without an engine.
type standIn struct {
	*bench
	sql     pg.Queries
	settled atomic.Int64
	pace    atomic.Int64 // segments a second; 0 for as fast as it goes
}

// report says that it takes what it can settle in a second, or its pace.
func (s *standIn) report(ctx context.Context) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		s.r.Capacity(bus.Capacity{Worker: "w", Pool: storetest.Pool, Slots: 4096, Batch: 16, Static: true, Goodput: 50_000})
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

func (s *standIn) work(ctx context.Context) error {
	for ctx.Err() == nil {
		begin := time.Now()
		got, err := s.bus.FetchWork(ctx, storetest.Pool, job.Bulk, sizeBundles, 100*time.Millisecond)
		if err != nil || len(got) == 0 {
			continue // the stop, or nothing there
		}
		n, err := s.settle(ctx, got)
		if err != nil {
			return err
		}
		s.settled.Add(int64(n))
		if pace := s.pace.Load(); pace > 0 {
			rest := time.Duration(float64(n*sizeWorkers)/float64(pace)*float64(time.Second)) - time.Since(begin)
			select {
			case <-ctx.Done():
			case <-time.After(rest):
			}
		}
	}
	return nil
}

// settle claims bundles and settles all of their segments as done.
func (s *standIn) settle(ctx context.Context, got []bus.Delivery[bus.Bundle]) (int, error) {
	ctx = context.WithoutCancel(ctx) // what was begun is finished
	var c struct {
		jobs, of                    []int64
		ns, attempts                []int32
		again                       []bool
		bundle, attempt, n, chapter []int32
		states, tenants, empty      []string
		keys                        [][]byte
		seconds, zero               []float64
		rates, samples              []int32
		marks                       []*string
	}
	var notes []bus.Settled
	for _, d := range got {
		b := &d.Value
		c.jobs, c.ns, c.attempts, c.again = append(c.jobs, b.Job), append(c.ns, int32(b.N())), append(c.attempts, int32(b.Attempt)), append(c.again, d.Deliveries > 1) //nolint:gosec // small
		for _, g := range b.Segments {
			key, err := hex.DecodeString(g.RenditionKey)
			if err != nil {
				return 0, err
			}
			c.of, c.bundle, c.attempt = append(c.of, b.Job), append(c.bundle, int32(b.N())), append(c.attempt, int32(b.Attempt)) //nolint:gosec // small
			c.n, c.chapter, c.states = append(c.n, int32(g.N)), append(c.chapter, int32(g.Chapter)), append(c.states, "done")    //nolint:gosec // small
			c.keys, c.seconds, c.zero = append(c.keys, key), append(c.seconds, g.PredictedSeconds), append(c.zero, 0)
			c.empty, c.tenants, c.marks = append(c.empty, ""), append(c.tenants, string(b.Tenant)), append(c.marks, nil)
			c.rates, c.samples = append(c.rates, int32(g.SampleRate)), append(c.samples, int32(g.PredictedSeconds*float64(g.SampleRate))) //nolint:gosec // small
			notes = append(notes, bus.Settled{
				Job: b.Job, N: g.N, Attempt: b.Attempt, Tenant: b.Tenant, Class: b.Class, Pool: b.Pool, Predicted: g.PredictedSeconds, Actual: g.PredictedSeconds,
			})
		}
	}
	if _, err := s.DB.Exec(ctx, s.sql.Get("Claim"), c.jobs, c.ns, c.attempts, c.again); err != nil {
		return 0, err
	}
	err := pg.Tx(ctx, s.DB, func(tx pgx.Tx) error {
		var b pgx.Batch
		b.Queue(s.sql.Get("LockJobs"), c.jobs)
		b.Queue(s.sql.Get("AddRenditions"), c.keys, c.tenants, c.empty, c.rates, c.samples, c.samples, c.keys, c.empty, c.marks)
		b.Queue(s.sql.Get("Settle"), c.of, c.bundle, c.attempt, c.n, c.chapter, c.states, c.keys, c.seconds, c.zero, c.zero, c.empty, c.empty)
		b.Queue(s.sql.Get("AdvanceJobs"), c.of, c.chapter)
		b.Queue(s.sql.Get("JobVersions"), c.jobs)
		return tx.SendBatch(ctx, &b).Close()
	})
	if err != nil {
		return 0, err
	}
	acks := make(chan error, len(got))
	for _, d := range got {
		go func() { acks <- d.Ack(ctx) }()
	}
	for range got {
		err = errors.Join(err, <-acks)
	}
	s.r.Settled(notes)
	return len(notes), err
}
