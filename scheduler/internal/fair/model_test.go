package fair_test

import (
	"fmt"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/scheduler/internal/fair"
)

// world is what a leader's store knows, and what the core must agree with.
type world struct {
	cfg   fair.Config
	core  *fair.Core
	now   time.Time
	rates map[string]float64
	jobs  map[job.ID]fair.Job // with what waits
	out   map[fair.Key]fair.Bundle
	used  map[fair.Key]bool
	n     int64
}

var pools = []string{"fast", "slow"}

func newWorld() *world {
	w := &world{
		cfg: fair.DefaultConfig(), now: start, rates: map[string]float64{"fast": 60, "slow": 2},
		jobs: map[job.ID]fair.Job{}, out: map[fair.Key]fair.Bundle{}, used: map[fair.Key]bool{},
	}
	w.core = fair.New(w.cfg)
	w.report()
	return w
}

func (w *world) slots(pool string) int { return map[string]int{"fast": 16, "slow": 2}[pool] }

func (w *world) report() {
	for _, pool := range pools {
		w.core.Report(fair.Capacity{Pool: pool, Worker: "w", Backends: 1, Slots: w.slots(pool), Rate: w.rates[pool], At: w.now})
	}
}

func (w *world) submit(t *rapid.T) {
	w.n++
	j := fair.Job{
		ID: job.ID(fmt.Sprintf("j%05d", w.n)), Pool: rapid.SampledFrom(pools).Draw(t, "pool"),
		Tenant: job.Tenant(rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "tenant")),
		Class:  rapid.SampledFrom([]job.Class{job.Interactive, job.Bulk}).Draw(t, "class"), Accepted: w.now,
		Weight: 1, Priority: rapid.IntRange(0, 2).Draw(t, "priority"),
	}
	if rapid.IntRange(0, 4).Draw(t, "due") == 0 {
		j.Deadline = w.now.Add(time.Duration(rapid.IntRange(1, 600).Draw(t, "deadline")) * time.Second)
	}
	n := rapid.IntRange(1, 100).Draw(t, "segments")
	j.Left = fair.Work{Segments: n, Cost: float64(n) * rapid.Float64Range(0.5, 14).Draw(t, "mean")}
	w.jobs[j.ID] = j
	require.True(t, w.core.Add(j))
}

func (w *world) turn(t *rapid.T) {
	turn, ok := w.core.Next(w.now)
	if !ok {
		return
	}
	j, known := w.jobs[turn.Job]
	require.True(t, known, "a turn of a job that does not wait")
	require.Positive(t, turn.Limit.Segments)
	require.LessOrEqual(t, turn.Limit.Segments, min(w.cfg.MaxSegments, j.Left.Segments))
	w.withinCredit(t, turn)
	if rapid.IntRange(0, 9).Draw(t, "declined") == 0 {
		w.core.Declined(turn.N)
		return
	}
	n := rapid.IntRange(1, turn.Limit.Segments).Draw(t, "taken")
	out := fair.Work{Segments: n, Cost: j.Left.Cost / float64(j.Left.Segments) * float64(n)}
	w.n++
	key := fair.Key{Job: turn.Job, N: w.n}
	require.True(t, w.core.Released(turn.N, key, out, fair.Work{}))
	require.False(t, w.core.Released(turn.N, key, out, fair.Work{}), "released twice")
	require.False(t, w.used[key])
	w.used[key] = true
	w.out[key] = fair.Bundle{Key: key, Pool: turn.Pool, Class: turn.Class, Tenant: turn.Tenant, Weight: 1, Left: out}
	j.Left = fair.Work{Segments: j.Left.Segments - n, Cost: j.Left.Cost - out.Cost}
	w.keep(j)
}

// withinCredit holds a turn, which is counted already, against what the engines
// and the buffer take: a second of the pool's work, of both classes together.
func (w *world) withinCredit(t *rapid.T, turn fair.Turn) {
	require.True(t, turn.Limit.Segments == 1 || turn.Limit.Cost <= w.rates[turn.Pool]*1.0001, "a bundle is more than a second of its pool")
	counted, bulk := w.core.Out(turn.Pool, job.Interactive), w.core.Out(turn.Pool, job.Bulk)
	counted.Segments += bulk.Segments - turn.Limit.Segments
	counted.Cost += bulk.Cost - turn.Limit.Cost
	slots := w.slots(turn.Pool)
	if counted.Segments < slots {
		return // an engine has room
	}
	buffer := w.rates[turn.Pool] * w.cfg.Buffer.Seconds()
	buffered := counted.Cost * (1 - float64(slots)/float64(counted.Segments))
	alone := turn.Limit.Segments == 1 && buffered <= buffer*w.cfg.BulkBuffer+1e-6
	require.True(t, alone || buffered+turn.Limit.Cost <= buffer+1e-6, "more than the buffer takes")
}

func (w *world) keep(j fair.Job) {
	if j.Left.Segments == 0 {
		delete(w.jobs, j.ID)
		return
	}
	w.jobs[j.ID] = j
}

func (w *world) pick(t *rapid.T) (fair.Bundle, bool) {
	if len(w.out) == 0 {
		return fair.Bundle{}, false
	}
	keys := make([]fair.Key, 0, len(w.out))
	for k := range w.out {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, func(a, b fair.Key) int { return int(a.N - b.N) })
	return w.out[rapid.SampledFrom(keys).Draw(t, "bundle")], true
}

func (w *world) end(t *rapid.T) {
	b, ok := w.pick(t)
	if !ok {
		return
	}
	n := rapid.IntRange(1, b.Left.Segments).Draw(t, "ended")
	part := b.Left.Cost / float64(b.Left.Segments) * float64(n)
	w.core.Done(b.Key, n, part*rapid.Float64Range(0.7, 1.4).Draw(t, "error"))
	b.Left = fair.Work{Segments: b.Left.Segments - n, Cost: b.Left.Cost - part}
	w.out[b.Key] = b
	if b.Left.Segments == 0 {
		delete(w.out, b.Key)
	}
}

func (w *world) lose(t *rapid.T) {
	b, ok := w.pick(t)
	if !ok {
		return
	}
	w.core.Returned(b.Key)
	w.core.Returned(b.Key) // told twice
	delete(w.out, b.Key)
	j, known := w.jobs[b.Key.Job]
	if !known {
		j = fair.Job{ID: b.Key.Job, Pool: b.Pool, Tenant: b.Tenant, Class: b.Class, Weight: 1, Accepted: start}
	}
	j.Left = fair.Work{Segments: j.Left.Segments + b.Left.Segments, Cost: j.Left.Cost + b.Left.Cost}
	w.jobs[j.ID] = j
	require.True(t, w.core.Add(j))
}

func (w *world) cancel(t *rapid.T) {
	ids := make([]job.ID, 0, len(w.jobs))
	for id := range w.jobs {
		ids = append(ids, id)
	}
	if len(ids) == 0 {
		return
	}
	slices.Sort(ids)
	id := rapid.SampledFrom(ids).Draw(t, "job")
	w.core.Remove(id)
	delete(w.jobs, id)
}

// succeed is a change of leader: the new one knows clocks, what is out and what waits.
func (w *world) succeed(t *rapid.T) {
	before := w.core.Snapshot()
	w.core = fair.New(w.cfg)
	w.core.Restore(before)
	for _, b := range w.out {
		require.True(t, w.core.Adopt(b))
	}
	for _, j := range w.jobs {
		require.True(t, w.core.Add(j))
	}
	w.report()
	w.monotone(t, before)
}

func (w *world) monotone(t *rapid.T, before []fair.Clock) {
	at := map[string]float64{}
	for _, k := range w.core.Snapshot() {
		require.False(t, math.IsNaN(k.Time) || math.IsInf(k.Time, 0))
		at[k.Pool+string(k.Class)+string(k.Tenant)] = k.Time
	}
	for _, k := range before {
		if k.Tenant == "" {
			require.GreaterOrEqual(t, at[k.Pool+string(k.Class)], k.Time, "system time fell")
		}
	}
}

func (w *world) agree(t *rapid.T) {
	out := map[string]fair.Work{}
	for _, b := range w.out {
		o := out[b.Pool+string(b.Class)]
		out[b.Pool+string(b.Class)] = fair.Work{Segments: o.Segments + b.Left.Segments, Cost: o.Cost + b.Left.Cost}
	}
	for _, pool := range pools {
		for _, class := range []job.Class{job.Interactive, job.Bulk} {
			got, want := w.core.Out(pool, class), out[pool+string(class)]
			require.Equal(t, want.Segments, got.Segments)
			require.InDelta(t, want.Cost, got.Cost, 1e-3)
			require.GreaterOrEqual(t, got.Cost, 0.0)
		}
	}
	require.Equal(t, len(w.jobs), w.core.Len())
}

// settle ends everything, then lets tenants a and b wait together in a pool:
// whatever was before, neither gets more than a few bundles ahead.
func (w *world) settle(t *rapid.T) {
	for id := range w.jobs {
		w.core.Remove(id)
	}
	clear(w.jobs)
	for k := range w.out {
		w.core.Returned(k)
	}
	clear(w.out)
	for _, pool := range pools {
		require.Zero(t, w.core.Out(pool, job.Bulk))
		require.Zero(t, w.core.Out(pool, job.Interactive))
	}
	w.report()
	for _, tenant := range []job.Tenant{"a", "b"} {
		w.core.Add(fair.Job{
			ID: job.ID("last " + tenant), Pool: "fast", Tenant: tenant, Class: job.Bulk, Accepted: w.now, Weight: 1,
			Left: fair.Work{Segments: 100_000, Cost: 300_000},
		})
	}
	got := map[job.Tenant]float64{}
	var line []fair.Bundle
	for range 400 {
		for turn, ok := w.core.Next(w.now); ok; turn, ok = w.core.Next(w.now) {
			w.n++
			key := fair.Key{Job: turn.Job, N: w.n}
			w.core.Released(turn.N, key, turn.Limit, fair.Work{})
			got[turn.Tenant] += turn.Limit.Cost
			line = append(line, fair.Bundle{Key: key, Left: turn.Limit})
		}
		require.NotEmpty(t, line, "work waits, the pool is free, and nothing goes")
		w.core.Done(line[0].Key, line[0].Left.Segments, line[0].Left.Cost)
		line = line[1:]
		require.LessOrEqual(t, math.Abs(got["a"]-got["b"]), 3*w.rates["fast"], "%v", got)
	}
}

func TestWhateverHappensNobodyIsForgottenAndNothingIsCountedTwice(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld()
		t.Repeat(map[string]func(*rapid.T){
			"": w.agree, "submit": w.submit, "turn": w.turn, "end": w.end, "lose": w.lose, "cancel": w.cancel, "succeed": w.succeed,
			"turns": func(t *rapid.T) {
				for range 10 {
					w.turn(t)
				}
			},
			"pass": func(t *rapid.T) {
				before := w.core.Snapshot()
				w.now = w.now.Add(time.Duration(rapid.IntRange(0, 60).Draw(t, "seconds")) * time.Second)
				w.report()
				w.monotone(t, before)
			},
			"silence": func(t *rapid.T) {
				_, ok := w.core.Next(w.now.Add(time.Hour))
				require.False(t, ok, "nobody is there to take it")
				w.report()
			},
			"pace": func(t *rapid.T) {
				w.rates["fast"] = rapid.Float64Range(5, 200).Draw(t, "rate")
				w.report()
			},
		})
		w.settle(t)
	})
}
