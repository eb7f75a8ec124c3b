package store_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/job"
)

func TestWhatAJobWouldCostFollowsFromWhatWaits(t *testing.T) {
	t.Parallel()
	s, db := newStore(t)
	ctx := t.Context()
	cost := func(class job.Class, pool string, seconds float64) (gpu, wait float64) {
		t.Helper()
		c, err := s.CostOf(ctx, tenant, class, map[string]float64{pool: seconds})
		require.NoError(t, err)
		if c.ETA.IsZero() {
			return c.GPUSeconds, -1
		}
		require.True(t, c.Low.Before(c.ETA) && c.ETA.Before(c.High))
		return c.GPUSeconds, time.Until(c.ETA).Seconds()
	}
	is := func(wantGPU, wantWait float64, class job.Class, pool string, seconds float64, why string) {
		t.Helper()
		gpu, wait := cost(class, pool, seconds)
		require.InDelta(t, wantGPU, gpu, 1e-6, why)
		require.InDelta(t, wantWait, wait, 1, why)
	}
	is(0, -1, job.Bulk, "speech", 100, "nobody has told how fast it is")
	exec(t, db, `insert into pool_speeds (pool, audio, cold_start) values ('speech', 10, 60)`)
	is(10, -1, job.Bulk, "speech", 100, "no worker is there")
	exec(t, db, `insert into pool_workers (pool, worker) values ('speech', 'a'), ('speech', 'b')`)
	is(100, 50, job.Bulk, "speech", 1000, "two workers")

	insert := func(id job.ID, who job.Tenant, class job.Class, seconds float64) {
		exec(t, db, `with j as (insert into jobs (id, tenant_id, class, state, spec, on_failure, accepted_at) values ($1, $2, $3, 'queued', '{}', 'fail', now()) returning num)
			insert into queues (job, pool, seconds) select num, 'speech', $4 from j`, id, who, class, seconds)
	}
	insert("job_other", "other", job.Bulk, 100_000)
	is(100, 100, job.Bulk, "speech", 1000, "another tenant gets as much meanwhile, and no more")
	insert("job_mine", tenant, job.Bulk, 500)
	is(100, 150, job.Bulk, "speech", 1000, "what it has itself is before it")
	insert("job_live", "other", job.Interactive, 200)
	is(100, 160, job.Bulk, "speech", 1000, "interactive work goes first")
	is(1, 0.675, job.Interactive, "speech", 10, "and bulk work hardly delays it")
	exec(t, db, `update queues set held = true`)
	is(100, 50, job.Bulk, "speech", 1000, "what is paused does not count")
}
