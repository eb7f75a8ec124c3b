package fair_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/scheduler/internal/fair"
)

var start = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// engine is a worker of a continuous pool that holds slots segments.
func engine(pool string, slots int, rate float64) fair.Capacity {
	return fair.Capacity{Pool: pool, Worker: "w1", Backends: 1, Slots: slots, Rate: rate, At: start}
}

func book(id, tenant string, segments int, each float64) fair.Job {
	return fair.Job{
		ID: job.ID(id), Pool: "en", Tenant: job.Tenant(tenant), Class: job.Bulk, Accepted: start,
		Left: fair.Work{Segments: segments, Cost: each * float64(segments)},
	}
}

// line takes turns and ends their bundles at once or later, in order.
type line struct {
	t    *testing.T
	core *fair.Core
	now  time.Time
	n    int64
	out  []fair.Bundle
	cost map[string]float64 // by tenant
}

func newLine(t *testing.T, cfg fair.Config) *line {
	return &line{t: t, core: fair.New(cfg), now: start, cost: map[string]float64{}}
}

// fill lets out all that may go.
func (l *line) fill() (turns []fair.Turn) {
	for {
		turn, ok := l.core.Next(l.now)
		if !ok {
			return turns
		}
		l.n++
		key := fair.Key{Job: turn.Job, N: l.n}
		require.True(l.t, l.core.Released(turn.N, key, turn.Limit, fair.Work{}))
		l.out = append(l.out, fair.Bundle{Key: key, Pool: turn.Pool, Class: turn.Class, Tenant: turn.Tenant, Left: turn.Limit})
		l.cost[string(turn.Tenant)] += turn.Limit.Cost
		turns = append(turns, turn)
	}
}

// serve lets out and ends bundles until cost is served or nothing is left.
func (l *line) serve(cost float64) {
	for cost > 0 {
		l.fill()
		if len(l.out) == 0 {
			return
		}
		b := l.out[0]
		l.out = l.out[1:]
		l.core.Done(b.Key, b.Left.Segments, b.Left.Cost)
		cost -= b.Left.Cost
	}
}

func (l *line) drain() {
	for l.fill(); len(l.out) > 0; l.fill() {
		l.serve(1)
	}
}

func TestATenantThatHadThePoolAloneIsNotPunishedWhenItReturns(t *testing.T) {
	l := newLine(t, fair.DefaultConfig())
	l.core.Report(engine("en", 8, 15))
	l.core.Add(book("a1", "a", 1000, 10))
	l.drain() // a had 10,000 s alone
	require.InDelta(t, 10_000, l.cost["a"], 1e-6)
	clear(l.cost)
	l.core.Add(book("b1", "b", 10_000, 10))
	l.serve(100)
	l.core.Add(book("a2", "a", 10_000, 10))
	l.serve(9000)
	require.InDelta(t, 1, l.cost["a"]/(l.cost["b"]-100), 0.02, "%v", l.cost)
}

func TestATenantThatIsBusyInOnePoolGetsItsPartOfAnother(t *testing.T) {
	l := newLine(t, fair.DefaultConfig())
	l.core.Report(engine("en", 8, 15))
	l.core.Add(book("a1", "a", 1000, 10))
	l.drain()
	l.core.Report(engine("slow", 1, 1))
	clear(l.cost)
	for _, tenant := range []string{"a", "b"} {
		j := book(tenant+"2", tenant, 10_000, 10)
		j.Pool = "slow"
		l.core.Add(j)
	}
	l.serve(6000)
	require.InDelta(t, 1, l.cost["a"]/l.cost["b"], 0.02, "%v", l.cost)
}

func TestASlowPoolGetsSingleSegmentsAndASecondOfWork(t *testing.T) {
	l := newLine(t, fair.DefaultConfig())
	l.core.Report(engine("en", 4, 15))
	l.core.Add(book("a1", "a", 1000, 14))
	turns := l.fill()
	for _, turn := range turns {
		require.Equal(t, 1, turn.Limit.Segments)
	}
	require.Equal(t, 5, l.core.Out("en", job.Bulk).Segments, "four in the engine and one second of 15 s behind them")
}

func TestBulkWorkLeavesARestOfTheBufferAndInteractiveWorkTakesNoMore(t *testing.T) {
	for name, static := range map[string]bool{"continuous": false, "static": true} {
		l := newLine(t, fair.DefaultConfig())
		r := engine("en", 10, 200)
		r.Static, r.MaxBatch = static, 10 // a buffer of 20 segments of 10 s, or of two calls of 10
		l.core.Report(r)
		l.core.Add(book("a1", "a", 1000, 10))
		l.fill()
		bulk := map[bool]int{false: 20, true: 28}[static]
		require.Equal(t, bulk, l.core.Out("en", job.Bulk).Segments, name)
		j := book("b1", "b", 1000, 10)
		j.Class = job.Interactive
		l.core.Add(j)
		l.fill()
		require.Equal(t, 30-bulk, l.core.Out("en", job.Interactive).Segments, name)
		require.Equal(t, bulk, l.core.Out("en", job.Bulk).Segments, name)
	}
}

func TestBulkWorkGetsNoneOfTheSlotsThatAreSpared(t *testing.T) {
	l := newLine(t, fair.DefaultConfig())
	r := engine("en", 10, 100)
	r.Spared = 6
	l.core.Report(r)
	l.core.Add(book("a1", "a", 1000, 10))
	l.fill()
	require.Equal(t, 4+5, l.core.Out("en", job.Bulk).Segments)
	j := book("b1", "b", 1000, 10)
	j.Class = job.Interactive
	l.core.Add(j)
	l.fill()
	require.Equal(t, 6+5, l.core.Out("en", job.Interactive).Segments, "the spared slots and the rest of the buffer")
}

func TestBulkWorkHasItsShareBesideInteractiveWorkWithoutEnd(t *testing.T) {
	l := newLine(t, fair.DefaultConfig())
	r := engine("en", 10, 100)
	r.Spared = 6
	l.core.Report(r)
	l.core.Add(book("a1", "a", 10_000, 10))
	j := book("b1", "b", 10_000, 10)
	j.Class = job.Interactive
	l.core.Add(j)
	l.serve(20_000)
	require.InDelta(t, 0.2, l.cost["a"]/(l.cost["a"]+l.cost["b"]), 0.02, "%v", l.cost)
}

func TestAFastPoolGetsBundlesAsPlanningLaidThemDown(t *testing.T) {
	l := newLine(t, fair.DefaultConfig())
	l.core.Report(engine("en", 64, 400))
	l.core.Add(book("a1", "a", 1000, 12))
	turns := l.fill()
	require.Equal(t, 16, turns[0].Limit.Segments)
	l.core.Remove("a1")
	j := book("a2", "a", 1000, 12)
	j.Head = fair.Work{Segments: 7, Cost: 70}
	l.drain()
	l.core.Add(j)
	turn, ok := l.core.Next(l.now)
	require.True(t, ok)
	require.Equal(t, fair.Work{Segments: 7, Cost: 70}, turn.Limit)
}

func TestAPoolWithoutAWorkerGetsNothingAndANewWorkerSingleSegments(t *testing.T) {
	l := newLine(t, fair.DefaultConfig())
	l.core.Add(book("a1", "a", 1000, 5))
	require.Empty(t, l.fill())
	l.core.Report(engine("en", 2, 0))
	require.Len(t, l.fill(), 2)
	l.core.Report(engine("en", 2, 20))
	require.NotEmpty(t, l.fill())
	l.now = l.now.Add(time.Hour) // the worker was silent
	l.serve(10)
	require.Empty(t, l.fill())
}

func TestATenantsJobsGoByDeadlineThenPriorityThenAge(t *testing.T) {
	l := newLine(t, fair.DefaultConfig())
	add := func(id string, priority int, deadline, age time.Duration) {
		j := book(id, "a", 1, 5)
		j.Priority, j.Accepted = priority, start.Add(-age)
		if deadline > 0 {
			j.Deadline = start.Add(deadline)
		}
		l.core.Add(j)
	}
	add("young", 0, 0, 0)
	add("old", 0, 0, time.Hour)
	add("dear", 5, 0, 0)
	add("due tomorrow", 0, 24*time.Hour, 0)
	add("due today", 0, time.Hour, 0)
	l.core.Report(engine("en", 1, 5))
	var order []string
	for range 5 {
		for _, turn := range l.fill() {
			order = append(order, string(turn.Job))
		}
		l.serve(5)
	}
	require.Equal(t, []string{"due today", "due tomorrow", "dear", "old", "young"}, order)
}

func TestAJobWhoseDeadlineComesNearIsPromoted(t *testing.T) {
	l := newLine(t, fair.DefaultConfig())
	l.core.Report(engine("en", 1, 10))
	j := book("a1", "a", 100, 10) // 100 s of the pool
	j.Deadline = start.Add(200 * time.Second)
	l.core.Add(j)
	turn, _ := l.core.Next(start)
	require.Equal(t, job.Bulk, turn.Class)
	l.core.Declined(turn.N)
	turn, _ = l.core.Next(start.Add(10 * time.Second))
	require.Equal(t, job.Bulk, turn.Class)
	l.core.Declined(turn.N)
	l.now = start.Add(60 * time.Second)
	r := engine("en", 1, 10)
	r.At = l.now
	l.core.Report(r)
	turn, _ = l.core.Next(l.now)
	require.Equal(t, job.Interactive, turn.Class)
}

func TestATurnIsAnsweredOnceAndABundleIsOutOnce(t *testing.T) {
	l := newLine(t, fair.DefaultConfig())
	l.core.Report(engine("en", 64, 100))
	l.core.Add(book("a1", "a", 100, 1))
	turn, _ := l.core.Next(start)
	key := fair.Key{Job: "a1", N: 1}
	require.True(t, l.core.Released(turn.N, key, turn.Limit, fair.Work{}))
	require.False(t, l.core.Released(turn.N, key, turn.Limit, fair.Work{}))
	again, _ := l.core.Next(start)
	require.False(t, l.core.Released(again.N, key, again.Limit, fair.Work{}))
	require.Equal(t, turn.Limit, l.core.Out("en", job.Bulk))
	l.core.Done(key, 1000, turn.Limit.Cost)
	l.core.Done(key, 1, 5)
	l.core.Returned(key)
	require.Zero(t, l.core.Out("en", job.Bulk))
}

func TestTheBoundOfJobsHoldsHoweverTheyCome(t *testing.T) {
	cfg := fair.DefaultConfig()
	cfg.JobsPerTenant, cfg.MaxJobs, cfg.MinJobs = 10, 15, 2
	core := fair.New(cfg)
	added := 0
	for _, tenant := range []string{"a", "b", "c"} {
		for n := range 20 {
			if core.Add(book(fmt.Sprintf("%s%d", tenant, n), tenant, 1, 1)) {
				added++
			}
		}
	}
	require.Equal(t, 10+5+2, added)
	require.Equal(t, added, core.Len())
	core.Remove("a0")
	require.False(t, core.Add(book("a99", "a", 1, 1)), "the whole is full still")
}
