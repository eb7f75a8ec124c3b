package store_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/gateway/internal/store"
	"github.com/voicemill/voicemill/gateway/internal/watch"
	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/platform/pg"
	"github.com/voicemill/voicemill/platform/testkit"
)

func count(t *testing.T, db *pg.Pool, sql string, args ...any) (n int) {
	t.Helper()
	require.NoError(t, db.QueryRow(t.Context(), sql, args...).Scan(&n))
	return n
}

func TestADeletedJobLeavesATombstoneAndNothingElse(t *testing.T) {
	t.Parallel()
	s, db := newStore(t)
	insertJob(t, db, "job_a", job.StateRunning, `{"input": {"text": "A secret."}}`, time.Now())
	testkit.PutSegments(t, db, "job_a", []testkit.Segment{{Text: "A secret."}, {Text: "Another."}, {Text: "A third."}})
	testkit.SetSegment(t, db, "job_a", 1, job.SegmentReleased, 1, "", "")
	testkit.SetSegment(t, db, "job_a", 2, job.SegmentFailed, 1, "engine", "x")
	for _, sql := range []string{
		`insert into chapters (job_id, ordinal, state, first_segment, segments_total, plan_digest) values ('job_a', 1, 'pending', 1, 3, '')`,
		`insert into artifacts (job_id, name, media_type, object_key, bytes, sha256) values ('job_a', 'a.wav', 'audio/wav', 'jobs/default/job_a/x/a.wav', 1, sha256(''))`,
		`insert into outbox (kind, job_id, ordinal) values ('assemble', 'job_a', 1)`,
		`insert into deliveries (id, tenant_id, job_id, event, url, payload) values ('dlv_1', 'default', 'job_a', 'x', 'https://example.org', '')`,
		`insert into delivery_attempts (delivery_id, n, duration_ms) values ('dlv_1', 1, 1)`,
		`insert into cancellations (job_id, tenant_id) values ('job_a', 'default')`,
		`update jobs set source_key = 'uploads/default/upl_1'`,
		`insert into renditions (key, tenant, sample_rate, samples, bytes, sha256) select sha256('shared'), num, 1, 1, 1, sha256('') from tenants limit 1`,
	} {
		exec(t, db, sql)
	}
	_, err := s.DeleteJob(t.Context(), "other", "job_a")
	require.NoError(t, err, "whose job it is the id says; here is no such job of theirs, so word is left")
	exec(t, db, `delete from tombstones`)

	d, err := s.DeleteJob(t.Context(), tenant, "job_a")
	require.NoError(t, err)
	require.Equal(t, store.DeletedJob{Released: true}, d)
	for _, table := range []string{
		"jobs", "chapters", "blocks", "queues", "outstanding", "retries", "exceptions", "artifacts", "outbox", "deliveries", "delivery_attempts", "cancellations",
	} {
		require.Zero(t, count(t, db, `select count(*) from `+table), table)
	}
	require.Equal(t, 1, count(t, db, `select count(*) from renditions`), "others may share it")
	require.Equal(t, 2, count(t, db, `select count(*) from garbage where object_key in ('jobs/default/job_a/x/a.wav', 'uploads/default/upl_1')`))

	fate, err := s.FateOf(t.Context(), "job_a")
	require.NoError(t, err)
	require.Equal(t, store.Fate{Deleted: true}, fate)
	arrived, err := s.JobArrived(t.Context(), "job_a")
	require.NoError(t, err)
	require.True(t, arrived, "a request with its key makes no other")
	found, err := s.Versions(t.Context(), []job.ID{"job_a"})
	require.NoError(t, err)
	require.Equal(t, map[job.ID]watch.Version{"job_a": {Final: true}}, found, "who waits for it is told")
	_, err = s.DeleteJob(t.Context(), tenant, "job_a")
	require.Equal(t, job.NotFound, job.KindOf(err))
}

func TestAJobThatIsOnItsWayCanBeDeleted(t *testing.T) {
	t.Parallel()
	s, db := newStore(t)
	ctx := t.Context()
	scheduler, err := db.Begin(ctx)
	require.NoError(t, err)
	defer func() { _ = scheduler.Rollback(context.WithoutCancel(ctx)) }()
	_, err = scheduler.Exec(ctx, `select lock_arrivals(array['job_b'])`)
	require.NoError(t, err)
	_, err = scheduler.Exec(ctx, `insert into jobs (id, tenant_id, class, state, spec, on_failure, accepted_at) values ('job_b', $1, 'bulk', 'accepted', '{}', 'fail', now())`, tenant)
	require.NoError(t, err)
	done := make(chan store.DeletedJob, 1)
	go func() {
		d, err := s.DeleteJob(ctx, tenant, "job_b")
		for job.KindOf(err) == job.Overloaded && ctx.Err() == nil { // the test was slower than it waits
			d, err = s.DeleteJob(ctx, tenant, "job_b")
		}
		if err != nil {
			t.Error(err)
		}
		done <- d
	}()
	testkit.Blocked(t, db, 1)
	require.NoError(t, scheduler.Commit(ctx))
	require.Equal(t, store.DeletedJob{}, <-done, "it waited for the row")
	require.Zero(t, count(t, db, `select count(*) from jobs`))

	d, err := s.DeleteJob(ctx, tenant, "job_c")
	require.NoError(t, err)
	require.True(t, d.Early)
	require.Equal(t, 1, count(t, db, `select count(*) from tombstones where job_id = 'job_c'`))
}

func TestAPlaceThatIsGivenBackIsFree(t *testing.T) {
	t.Parallel()
	s, db := newStore(t)
	ctx := t.Context()
	require.NoError(t, s.SetTenant(ctx, tenant, store.Policy{Text: "60"}, store.Quota{OpenJobs: "1"}))
	require.NoError(t, s.SetTenant(ctx, tenant, store.Policy{Audio: "120"}, store.Quota{StoredBytes: "9"}))
	require.Equal(t, 1, count(t, db, `select count(*) from tenants where keep_text = '1 minute' and keep_audio = '2 minutes' and keep_jobs is null`))
	require.Equal(t, job.NotFound, job.KindOf(s.SetTenant(ctx, "nobody", store.Policy{}, store.Quota{})))
	got, err := s.Reserve(ctx, tenant, []store.Place{{Job: "job_a"}, {Job: "job_b"}})
	require.NoError(t, err)
	require.Equal(t, store.Places{Admitted: 1, Quota: store.QuotaOpenJobs, Used: 1, Bound: 1}, got)
	got, err = s.Reserve(ctx, tenant, []store.Place{{Job: "job_a"}})
	require.NoError(t, err)
	require.Equal(t, 1, got.Admitted, "it has its place already")
	got, err = s.Reserve(ctx, tenant, []store.Place{{Job: "job_b"}})
	require.NoError(t, err)
	require.Zero(t, got.Admitted)
	require.NoError(t, s.Unreserve(ctx, []job.ID{"job_a"}))
	got, err = s.Reserve(ctx, tenant, []store.Place{{Job: "job_b"}})
	require.NoError(t, err)
	require.Equal(t, 1, got.Admitted)
	exec(t, db, `update reservations set created_at = now() - interval '2 hours'`)
	got, err = s.Reserve(ctx, tenant, []store.Place{{Job: "job_c"}})
	require.NoError(t, err)
	require.Equal(t, 1, got.Admitted, "a place whose job never came is free after an hour")
	list, err := s.QuotaTenants(ctx)
	require.NoError(t, err)
	require.Equal(t, []job.Tenant{tenant}, list)
	require.NoError(t, s.SetTenant(ctx, tenant, store.Policy{Text: store.ByDefault}, store.Quota{OpenJobs: store.Unbounded, StoredBytes: store.Unbounded}))
	require.Zero(t, count(t, db, `select count(*) from quotas`), "who has no bound asks for no places")
	require.Zero(t, count(t, db, `select count(*) from tenants where keep_text is not null`))
	got, err = s.Reserve(ctx, tenant, []store.Place{{Job: "job_d"}})
	require.NoError(t, err)
	require.Equal(t, store.Places{Admitted: 1}, got)
}
