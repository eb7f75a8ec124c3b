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

func commands(t *testing.T, b *storetest.Base, name string, id job.ID, args ...any) {
	t.Helper()
	h, err := newHands(b.DB)
	require.NoError(t, err)
	c, err := h.command(t.Context(), name, id, args...)
	require.NoError(t, err)
	require.True(t, c.changed, "%s changed nothing", name)
}

func like(n int) []float64 {
	seconds := make([]float64, n)
	for i := range seconds {
		seconds[i] = 2
	}
	return seconds
}

// What was let out and not begun reaches no engine, and leaves its room to others;
// resumed, all of it comes, and no attempt is charged for the time out of turn.
func TestWhatIsPausedLeavesItsRoomAndComesBackUncharged(t *testing.T) {
	w := newBench(t)
	const segments = 60
	id := w.Queue(t, storetest.Tenant, job.Spec{Class: job.Bulk}, like(segments)...)
	w.run(t, 1, 16)
	got := w.fetch(t, job.Bulk, 16)
	out := w.Count(t, `select sum(bit_count(mask::bit(64)))::int from outstanding`)
	commands(t, w.Base, "PauseJob", id)

	h, err := newHands(w.DB)
	require.NoError(t, err)
	for _, d := range got {
		left, err := h.claim(t.Context(), d)
		require.NoError(t, err)
		require.Zero(t, left, "a worker that asks is told that it is not wanted")
		require.NoError(t, d.Ack(t.Context()))
	}
	other := w.Queue(t, storetest.Tenant, job.Spec{Class: job.Bulk}, like(16)...)
	w.r.Notice(other)
	for _, d := range w.fetch(t, job.Bulk, 1) {
		if d.Value.JobID != id { // what was in WORK already is ended, as above
			w.finish(t, []bus.Delivery[bus.Bundle]{d})
			continue
		}
		left, err := h.claim(t.Context(), d)
		require.NoError(t, err)
		require.Zero(t, left)
		require.NoError(t, d.Ack(t.Context()))
	}
	require.Zero(t, w.Count(t, `select count(*) from outstanding o join jobs j on j.num = o.job where j.id = $1`, id))

	commands(t, w.Base, "ResumeJob", id)
	again, deadline := 0, time.Now().Add(soon)
	for w.Count(t, `select segments_done from jobs where id = $1`, id) < segments {
		require.True(t, time.Now().Before(deadline), "not all came back")
		more, err := w.bus.FetchWork(t.Context(), storetest.Pool, job.Bulk, 16, 100*time.Millisecond)
		require.NoError(t, err)
		for _, d := range more {
			left, err := h.claim(t.Context(), d)
			require.NoError(t, err)
			if left == 0 {
				require.NoError(t, d.Ack(t.Context()))
				continue
			}
			require.Equal(t, 1, d.Value.Charged())
			if d.Value.Attempt > 1 {
				again += len(d.Value.Segments)
			}
			w.finish(t, []bus.Delivery[bus.Bundle]{d})
		}
	}
	require.Equal(t, out, again)
}

// A tenant pays for what was taken back as little as for what it never had out.
func TestAPauseGivesNoCreditAndCostsNone(t *testing.T) {
	base := storetest.New(t)
	base.Exec(t, `insert into leases values ('test', 1, 'test', 'infinity')`)
	id := base.Queue(t, storetest.Tenant, job.Spec{Class: job.Bulk}, like(200)...)
	b := testkit.NATS(t)
	s := release.NewStepper(release.DefaultConfig(), release.Deps{Bus: b, Log: testkit.Log(t), Observe: func(release.Event) {}}, base.Store.Under(pg.Lease{Name: "test", Epoch: 1}))
	step := func() (mine, system float64) {
		t.Helper()
		_, err := s.Step(t.Context(), bus.Capacity{Worker: "w", Pool: storetest.Pool, Slots: 16, Batch: 16, Static: true, Goodput: 100})
		require.NoError(t, err)
		for _, c := range s.Clocks() {
			switch {
			case c.Pool != storetest.Pool || c.Class != job.Bulk:
			case c.Tenant == "":
				system = c.Time
			case c.Tenant == storetest.Tenant:
				mine = c.Time
			}
		}
		return mine, system
	}
	charged, _ := step()
	require.Positive(t, charged)
	commands(t, base, "PauseJob", id)
	back, system := step()
	require.LessOrEqual(t, back, system, "what was taken back is paid for")
	commands(t, base, "ResumeJob", id)
	again, _ := step()
	var out float64
	base.One(t, `select sum(2 * bit_count(mask::bit(64)))::float8 from outstanding`, nil, &out)
	require.InDelta(t, system+out, again, 1e-6, "it starts at the system's time, and pays for what is out")
}

// What is spoken again goes out with what its owner wants, by itself.
func TestARedoneSegmentGoesOutWithItsOwnSeedAndText(t *testing.T) {
	w := newBench(t)
	id := w.Queue(t, storetest.Tenant, job.Spec{Class: job.Bulk, Seed: 5}, like(3)...)
	w.run(t, 1, 16)
	w.finish(t, w.fetch(t, job.Bulk, 3))
	require.Equal(t, 3, w.Count(t, `select segments_done from jobs where id = $1`, id))
	key := make([]byte, 32)
	commands(t, w.Base, "RedoSegment", id, 2, key, 11, "Otherwise.")
	got := w.fetch(t, job.Bulk, 1)
	require.Len(t, got, 1)
	b := got[0].Value
	require.Equal(t, []any{int64(11), 2, 1, 1}, []any{b.Seed, b.Attempt, b.Charged(), len(b.Segments)})
	require.Equal(t, "Otherwise.", b.Segments[0].Text)
	w.finish(t, got)
	require.Equal(t, 3, w.Count(t, `select segments_done from jobs where id = $1`, id))
}
