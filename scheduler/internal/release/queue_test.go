package release_test

import (
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/scheduler/internal/release"
	"github.com/voicemill/voicemill/scheduler/internal/store"
)

const pool = "espeak"

func queueConfig() release.QueueConfig {
	return release.QueueConfig{BundleSeconds: 15, BundleSegments: 8, InteractiveShare: 0.8}
}

// mill drives a Queue over backlogs that it keeps itself, as Postgres would.
type mill struct {
	t       require.TestingT
	q       *release.Queue
	pending map[store.Lot][]store.Segment
	served  map[job.Tenant]float64
	class   map[job.Class]float64
	order   []job.ID
}

func newMill(t require.TestingT) *mill {
	return &mill{
		t: t, q: release.NewQueue(queueConfig()), pending: map[store.Lot][]store.Segment{},
		served: map[job.Tenant]float64{}, class: map[job.Class]float64{},
	}
}

func (m *mill) add(j store.ReadyJob, lengths ...float64) {
	if j.Weight == 0 {
		j.Weight = 1
	}
	if len(j.Pools) == 0 {
		j.Pools = []string{pool}
	}
	for i, s := range lengths {
		l := store.Lot{JobID: j.ID, Pool: j.Pools[i%len(j.Pools)]}
		m.pending[l] = append(m.pending[l], store.Segment{JobID: j.ID, N: i + 1, Pool: l.Pool, Seconds: s})
	}
	m.q.Add(j)
}

// let lets out what fits, and returns it.
func (m *mill) let(rooms map[release.Lane]*release.Room) []store.Segment {
	const asked = 4
	var all []store.Segment
	for {
		picks, ask := m.q.Next(rooms)
		for _, g := range picks {
			l := store.Lot{JobID: g.JobID, Pool: g.Pool}
			at := slices.IndexFunc(m.pending[l], func(p store.Segment) bool { return p.N == g.N })
			require.GreaterOrEqual(m.t, at, 0, "segment %d of %s went out twice", g.N, g.JobID)
			m.pending[l] = slices.Delete(m.pending[l], at, at+1)
			m.served[g.Tenant] += g.Seconds
			m.class[g.Class] += g.Seconds
			m.order = append(m.order, g.JobID)
		}
		all = append(all, picks...)
		if len(ask) == 0 {
			return all
		}
		for _, l := range ask {
			next := m.pending[l]
			m.q.Fill(l, slices.Clone(next[:min(asked, len(next))]), asked)
		}
	}
}

func (m *mill) left() (n int) {
	for l := range maps.Values(m.pending) {
		n += len(l)
	}
	return n
}

func lanes(seconds float64, segments int) map[release.Lane]*release.Room {
	rooms := map[release.Lane]*release.Room{}
	for _, class := range []job.Class{job.Interactive, job.Bulk} {
		rooms[release.Lane{Pool: pool, Class: class}] = &release.Room{Seconds: seconds, Segments: segments}
	}
	return rooms
}

var lengths = rapid.Float64Range(0.4, 18)

func TestEqualTenantsGetEqualSeconds(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		m := newMill(t)
		tenants := rapid.IntRange(2, 5).Draw(t, "tenants")
		for i := range tenants {
			for j := range rapid.IntRange(1, 4).Draw(t, "jobs") {
				name := fmt.Sprintf("t%d", i)
				m.add(store.ReadyJob{ID: job.ID(fmt.Sprintf("job_%s_%d", name, j)), Tenant: job.Tenant(name), Class: job.Bulk},
					rapid.SliceOfN(lengths, 30, 60).Draw(t, "segments")...)
			}
		}
		// Nobody runs dry: each has at least 30 segments of 0.4 s, and the least served goes next.
		for m.left() > 0 && slices.Min(slices.Collect(maps.Values(withAll(m.served, tenants)))) < 10 {
			m.let(lanes(rapid.Float64Range(1, 60).Draw(t, "window"), 100))
		}
		served := slices.Collect(maps.Values(withAll(m.served, tenants)))
		// One bundle ahead at most: a turn begins only for the least served.
		limit := queueConfig().BundleSeconds + 18
		if gap := slices.Max(served) - slices.Min(served); gap > limit {
			t.Fatalf("tenants are %.1f s apart (%v); want at most %.1f", gap, served, limit)
		}
	})
}

func withAll(served map[job.Tenant]float64, n int) map[job.Tenant]float64 {
	out := maps.Clone(served)
	for i := range n {
		out[job.Tenant(fmt.Sprintf("t%d", i))] += 0
	}
	return out
}

func TestEverythingGoesOutOnceAndTheWindowHolds(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		m := newMill(t)
		for i := range rapid.IntRange(1, 8).Draw(t, "jobs") {
			class := rapid.SampledFrom([]job.Class{job.Interactive, job.Bulk}).Draw(t, "class")
			m.add(store.ReadyJob{
				ID: job.ID(fmt.Sprintf("job_%d", i)), Tenant: job.Tenant(rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "tenant")),
				Class: class, Weight: rapid.Float64Range(0.1, 10).Draw(t, "weight"), Priority: rapid.IntRange(-10, 10).Draw(t, "priority"),
			}, rapid.SliceOfN(lengths, 1, 30).Draw(t, "segments")...)
		}
		for round := 0; m.left() > 0; round++ {
			seconds, segments := rapid.Float64Range(18, 60).Draw(t, "seconds"), rapid.IntRange(1, 20).Draw(t, "segments")
			floor := rapid.IntRange(0, segments).Draw(t, "floor")
			rooms := lanes(seconds, segments)
			for _, r := range rooms {
				r.Floor, r.Idle = floor, true
			}
			out := m.let(rooms)
			if len(out) == 0 {
				t.Fatalf("round %d let nothing out of %d with room for %.1f s", round, m.left(), seconds)
			}
			for _, class := range []job.Class{job.Interactive, job.Bulk} {
				n, total := 0, 0.0
				for _, g := range out {
					if g.Class == class {
						n, total = n+1, total+g.Seconds
					}
				}
				if n > segments || total > seconds && n > floor {
					t.Fatalf("%s let out %d segments of %.1f s; room was for %d of %.1f s, floor %d", class, n, total, segments, seconds, floor)
				}
			}
		}
		m.let(lanes(60, 100)) // it learns that nothing is behind what went out last
		if m.q.Len() != 0 {
			t.Fatalf("%d jobs are left in the queue", m.q.Len())
		}
	})
}

func TestWorkIsConserved(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		m := newMill(t)
		total := 0
		for i := range rapid.IntRange(1, 6).Draw(t, "jobs") {
			n := rapid.IntRange(1, 20).Draw(t, "segments")
			total += n
			m.add(store.ReadyJob{ID: job.ID(fmt.Sprintf("job_%d", i)), Tenant: job.Tenant(fmt.Sprint(i % 3)), Class: job.Bulk}, slices.Repeat([]float64{3}, n)...)
		}
		want := rapid.IntRange(1, total).Draw(t, "room")
		if got := len(m.let(lanes(1e9, want))); got != want {
			t.Fatalf("%d went out; want %d of %d", got, want, total)
		}
	})
}

func TestInteractiveGoesFirst(t *testing.T) {
	t.Parallel()
	m := newMill(t)
	m.add(store.ReadyJob{ID: "job_bulk", Tenant: "a", Class: job.Bulk}, slices.Repeat([]float64{10}, 50)...)
	m.add(store.ReadyJob{ID: "job_now", Tenant: "b", Class: job.Interactive}, 2, 2)
	m.let(lanes(60, 100))
	require.Equal(t, job.ID("job_now"), m.order[0])
	require.Equal(t, job.ID("job_now"), m.order[1])
	require.InDelta(t, 4, m.class[job.Interactive], 1e-9)
	require.InDelta(t, 60, m.class[job.Bulk], 1e-9)
}

// While bulk work waits for its window, interactive work beyond its share has
// to wait too; over time bulk gets what is left of the share.
func TestInteractiveLeavesBulkItsShare(t *testing.T) {
	t.Parallel()
	m := newMill(t)
	m.add(store.ReadyJob{ID: "job_bulk", Tenant: "a", Class: job.Bulk}, slices.Repeat([]float64{5}, 2000)...)
	m.add(store.ReadyJob{ID: "job_now", Tenant: "b", Class: job.Interactive}, slices.Repeat([]float64{5}, 2000)...)
	// A worker with 50 s a round that always takes interactive work first.
	out := map[job.Class]float64{}
	for range 60 {
		rooms := lanes(0, 0)
		for at, room := range rooms {
			*room = release.Room{Seconds: 50 - out[at.Class], Segments: 100, Idle: out[at.Class] == 0}
		}
		for _, g := range m.let(rooms) {
			out[g.Class] += g.Seconds
		}
		capacity := 50.0
		for _, class := range []job.Class{job.Interactive, job.Bulk} {
			done := min(capacity, out[class])
			out[class], capacity = out[class]-done, capacity-done
		}
		require.Zero(t, capacity, "the pool had nothing to do")
	}
	share := m.class[job.Interactive] / (m.class[job.Interactive] + m.class[job.Bulk])
	require.InDelta(t, 0.8, share, 0.05)
}

// Bulk work that hangs holds its window for ever; interactive work must go on.
func TestHangingBulkDoesNotHoldInteractive(t *testing.T) {
	t.Parallel()
	m := newMill(t)
	m.add(store.ReadyJob{ID: "job_bulk", Tenant: "a", Class: job.Bulk}, slices.Repeat([]float64{5}, 10)...)
	m.add(store.ReadyJob{ID: "job_now", Tenant: "b", Class: job.Interactive}, slices.Repeat([]float64{5}, 100)...)
	for range 100 {
		rooms := lanes(50, 100)
		*rooms[release.Lane{Pool: pool, Class: job.Bulk}] = release.Room{}
		rooms[release.Lane{Pool: pool, Class: job.Interactive}].Idle = true
		require.NotEmpty(t, m.let(rooms))
		if m.class[job.Interactive] >= 500 {
			break
		}
	}
	require.InDelta(t, 500, m.class[job.Interactive], 1e-9)
}

func TestATenantThatComesBackIsNotOwedForThePause(t *testing.T) {
	t.Parallel()
	m := newMill(t)
	m.add(store.ReadyJob{ID: "job_a", Tenant: "a", Class: job.Bulk}, slices.Repeat([]float64{5}, 500)...)
	for range 20 {
		m.let(lanes(60, 100)) // a is alone for 1,200 s
	}
	m.add(store.ReadyJob{ID: "job_b", Tenant: "b", Class: job.Bulk}, slices.Repeat([]float64{5}, 500)...)
	before := maps.Clone(m.served)
	for range 10 {
		m.let(lanes(60, 100))
	}
	a, b := m.served["a"]-before["a"], m.served["b"]-before["b"]
	require.InDelta(t, a, b, 2*queueConfig().BundleSeconds)
}

func TestWeightsShareInProportion(t *testing.T) {
	t.Parallel()
	m := newMill(t)
	m.add(store.ReadyJob{ID: "job_a", Tenant: "a", Class: job.Bulk, Weight: 3}, slices.Repeat([]float64{5}, 2000)...)
	m.add(store.ReadyJob{ID: "job_b", Tenant: "b", Class: job.Bulk, Weight: 1}, slices.Repeat([]float64{5}, 2000)...)
	for range 60 {
		m.let(lanes(60, 100))
	}
	require.InDelta(t, 3, m.served["a"]/m.served["b"], 0.1)
}

func TestATenantsOwnJobsGoByPriorityDeadlineAndAge(t *testing.T) {
	t.Parallel()
	m := newMill(t)
	now := time.Now()
	soon, later := now.Add(time.Hour), now.Add(2*time.Hour)
	for id, j := range map[job.ID]store.ReadyJob{
		"job_5_young":  {AcceptedAt: now},
		"job_4_old":    {AcceptedAt: now.Add(-time.Hour)},
		"job_3_later":  {AcceptedAt: now, Deadline: &later},
		"job_2_soon":   {AcceptedAt: now, Deadline: &soon},
		"job_1_urgent": {AcceptedAt: now, Priority: 5},
		"job_6_last":   {AcceptedAt: now.Add(-time.Hour), Priority: -1},
	} {
		j.ID, j.Tenant, j.Class = id, "a", job.Bulk
		m.add(j, 1)
	}
	m.let(lanes(60, 100))
	require.True(t, slices.IsSorted(m.order), "order was %v", m.order)
	require.Len(t, m.order, 6)
}

func TestPoolsDoNotWaitForEachOther(t *testing.T) {
	t.Parallel()
	m := newMill(t)
	m.add(store.ReadyJob{ID: "job_a", Tenant: "a", Class: job.Bulk, Pools: []string{"x", "y"}}, slices.Repeat([]float64{5}, 40)...)
	rooms := map[release.Lane]*release.Room{
		{Pool: "x", Class: job.Bulk}: {}, // full
		{Pool: "y", Class: job.Bulk}: {Seconds: 1000, Segments: 100},
	}
	out := m.let(rooms)
	require.Len(t, out, 20)
	for _, g := range out {
		require.Equal(t, "y", g.Pool)
	}
}

// A segment that failed in one pool comes back while the job still waits in another.
func TestAJobOfTwoPoolsGetsWorkBackInOne(t *testing.T) {
	t.Parallel()
	m := newMill(t)
	j := store.ReadyJob{ID: "job_a", Tenant: "a", Class: job.Bulk, Pools: []string{"x", "y"}}
	m.add(j, 5, 5) // one segment of each
	dead, alive := release.Lane{Pool: "x", Class: job.Bulk}, release.Lane{Pool: "y", Class: job.Bulk}
	rooms := map[release.Lane]*release.Room{dead: {}, alive: {Seconds: 100, Segments: 100}}
	require.Len(t, m.let(rooms), 1)
	back := store.Lot{JobID: j.ID, Pool: "y"}
	m.pending[back] = append(m.pending[back], store.Segment{JobID: j.ID, N: 2, Pool: "y", Seconds: 5})
	require.False(t, m.q.Has(j.ID))
	m.q.Add(j)
	require.Len(t, m.let(rooms), 1)
}

func TestARemovedJobLeavesNothingBehind(t *testing.T) {
	t.Parallel()
	m := newMill(t)
	m.add(store.ReadyJob{ID: "job_a", Tenant: "a", Class: job.Bulk, Pools: []string{"x", "y"}}, 1, 2, 3)
	m.q.Remove("job_a")
	m.q.Remove("job_a")
	m.q.Fill(store.Lot{JobID: "job_a", Pool: "x"}, nil, 4)
	require.Zero(t, m.q.Len())
	require.Empty(t, m.let(lanes(60, 100)))
}
