package release_test

import (
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

// A job says when it will end, and while nothing of it is out, how many end before
// it; when it has ended, that is held against what was said first.
func TestAJobSaysItsPlaceAndWhenItEnds(t *testing.T) {
	base := storetest.New(t)
	base.Exec(t, `insert into leases values ('test', 1, 'test', 'infinity')`)
	var told []release.Told
	s := release.NewStepper(release.DefaultConfig(), release.Deps{Bus: testkit.NATS(t), Log: testkit.Log(t), Observe: func(e release.Event) {
		if e.Told != nil {
			told = append(told, *e.Told)
		}
	}}, base.Store.Under(pg.Lease{Name: "test", Epoch: 1}))
	first := base.Queue(t, storetest.Tenant, job.Spec{Class: job.Bulk}, like(100)...)
	second := base.Queue(t, storetest.Tenant, job.Spec{Class: job.Bulk}, like(100)...)
	_, err := s.Step(t.Context(), bus.Capacity{Worker: "w", Pool: storetest.Pool, Slots: 4, Batch: 1, Goodput: 4})
	require.NoError(t, err)
	s.Estimate(t.Context())

	type row struct {
		left, low, high float64
		place           int
	}
	read := func(id job.ID) (r row) {
		t.Helper()
		base.One(t, `select extract(epoch from eta - now())::float8, extract(epoch from eta_low - now())::float8, extract(epoch from eta_high - now())::float8, coalesce(place, 0)
			from estimates join jobs on num = job where id = $1`, []any{id}, &r.left, &r.low, &r.high, &r.place)
		return r
	}
	one, two := read(first), read(second)
	require.InDelta(t, 50, one.left, 5, "200 seconds of audio, four a second")
	require.InDelta(t, 100, two.left, 8)
	require.Equal(t, []int{0, 2}, []int{one.place, two.place}, "some of the first is out")
	for _, r := range []row{one, two} {
		require.Less(t, r.low, r.left)
		require.Greater(t, r.high, r.left)
	}
	doc, err := base.Store.Document(t.Context(), second)
	require.NoError(t, err)
	require.Equal(t, "turn", doc.Waiting.Reason)
	require.Equal(t, 2, doc.Waiting.Place)
	require.NotNil(t, doc.Progress.ETA)
	require.WithinDuration(t, doc.Estimate.ETA.Time, doc.Progress.ETA.Time, time.Millisecond)

	commands(t, base, "PauseJob", second)
	doc, err = base.Store.Document(t.Context(), second)
	require.NoError(t, err)
	require.Equal(t, "paused", doc.Waiting.Reason)
	require.Nil(t, doc.Progress.ETA, "nobody knows")

	base.Exec(t, `delete from outstanding`)
	base.Exec(t, `delete from queues where job = (select num from jobs where id = $1)`, first)
	base.Exec(t, `update jobs set state = 'succeeded', finished_at = clock_timestamp() + interval '50 s', segments_done = segments_total, chapters_ready = chapters_total,
		proof_digest = plan_digest where id = $1`, first)
	_, err = s.Step(t.Context(), bus.Capacity{Worker: "w", Pool: storetest.Pool, Slots: 4, Batch: 1, Goodput: 4})
	require.NoError(t, err)
	s.Estimate(t.Context())
	require.Len(t, told, 1)
	require.True(t, told[0].Covered)
	require.InDelta(t, 0, told[0].Off, 0.2)
}
