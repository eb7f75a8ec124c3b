package housekeeping_test

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/platform/blob"
	"github.com/voicemill/voicemill/platform/testkit"
	"github.com/voicemill/voicemill/scheduler/internal/housekeeping"
	"github.com/voicemill/voicemill/scheduler/internal/store"
	"github.com/voicemill/voicemill/scheduler/internal/storetest"
)

func TestMain(m *testing.M) { testkit.Main(m) }

func TestOldRowsGoAndYoungOnesStay(t *testing.T) {
	t.Parallel()
	b := storetest.New(t)
	for _, age := range []string{"1 hour", "25 hours", "8 days", "31 days"} {
		b.Exec(t, `insert into idempotency_keys (tenant_id, key, body_hash, job_id, created_at) values ('default', $1, sha256('x'), 'j', now() - $1::text::interval)`, age)
		b.Exec(t, `insert into cancellations (job_id, tenant_id, created_at) values ($1, 'default', now() - $1::text::interval)`, age)
	}
	for finished, ago := range map[string]string{"job_settled": "2 minutes", "job_just_settled": "30 seconds"} {
		b.Exec(t, `insert into jobs (id, tenant_id, class, state, spec, on_failure, accepted_at, finished_at)
values ($1, 'default', 'bulk', 'cancelled', '{}', 'fail', now() - $2::text::interval, now() - $2::text::interval)`, finished, ago)
		b.Exec(t, `insert into cancellations (job_id, tenant_id) values ($1, 'default')`, finished)
	}
	k := housekeeping.New(housekeeping.DefaultConfig(), testkit.S3(t), testkit.Log(t), nil)
	require.NoError(t, k.Round(t.Context(), b.Store))
	require.Zero(t, b.Count(t, `select count(*) from cancellations where job_id = 'job_settled'`))
	for table, left := range map[string]int{"idempotency_keys": 1, "cancellations": 3} {
		require.Equal(t, left, b.Count(t, `select count(*) from `+table), table)
	}
}

// A client may use its key again at the moment when it would be deleted.
func TestAKeyThatIsClaimedAnewStays(t *testing.T) {
	t.Parallel()
	b := storetest.New(t)
	b.Exec(t, `insert into idempotency_keys (tenant_id, key, body_hash, job_id, created_at)
select 'default', key, sha256('x'), 'job_of_yesterday', now() - interval '25 hours' from unnest(array['old', 'again']) key`)
	gateway, err := b.DB.Begin(t.Context())
	require.NoError(t, err)
	defer func() { _ = gateway.Rollback(context.WithoutCancel(t.Context())) }()
	_, err = gateway.Exec(t.Context(), `update idempotency_keys set job_id = 'job_of_today', created_at = now() where key = 'again'`)
	require.NoError(t, err)
	deleted := make(chan int, 1)
	go func() {
		n, err := b.Store.DeleteOld(t.Context(), store.OldIdempotencyKeys, 24*time.Hour, 10)
		if err != nil {
			t.Error(err)
		}
		deleted <- n
	}()
	testkit.Blocked(t, b.DB, 1)
	require.NoError(t, gateway.Commit(t.Context()))
	require.Equal(t, 1, <-deleted)
	require.Equal(t, 1, b.Count(t, `select count(*) from idempotency_keys where job_id = 'job_of_today'`))
}

func TestARoundIsBounded(t *testing.T) {
	t.Parallel()
	b := storetest.New(t)
	b.Exec(t, `insert into cancellations (job_id, tenant_id, created_at) select 'job_' || n, 'default', now() - interval '30 days' from generate_series(1, 250) n`)
	cfg := housekeeping.DefaultConfig()
	cfg.Rows = 2
	k := housekeeping.New(cfg, testkit.S3(t), testkit.Log(t), nil)
	for _, left := range []int{50, 0, 0} {
		require.NoError(t, k.Round(t.Context(), b.Store))
		require.Equal(t, left, b.Count(t, `select count(*) from cancellations`))
	}
}

func TestAnExpiredUploadGoesUnlessAJobNamesIt(t *testing.T) {
	t.Parallel()
	b := storetest.New(t)
	bucket := testkit.S3(t)
	keys := map[string]string{"upl_unused": "25 hours", "upl_used": "25 hours", "upl_young": "23 hours", "upl_never_sent": "25 hours"}
	for id, age := range keys {
		b.Exec(t, `insert into uploads (id, tenant_id, media_type, max_bytes, object_key, expires_at)
values ($1, 'default', 'text/plain', 1, 'uploads/default/' || $1, now() - $2::text::interval)`, id, age)
		if id != "upl_never_sent" {
			_, err := bucket.Put(t.Context(), "uploads/default/"+id, strings.NewReader("x"), 1, blob.PutOptions{})
			require.NoError(t, err)
		}
	}
	a := b.Accepted(t, storetest.Tenant, job.Spec{Input: job.Input{Upload: "upl_used"}})
	a.SourceKey = "uploads/default/upl_used"
	b.Insert(t, a)
	k := housekeeping.New(housekeeping.DefaultConfig(), bucket, testkit.Log(t), nil)
	require.NoError(t, k.Round(t.Context(), b.Store))
	require.Equal(t, 2, b.Count(t, `select count(*) from uploads`))
	tally := func() int { return b.Count(t, `select coalesce(sum(uploads), 0)::int from stored_changes`) }
	require.Equal(t, 2, tally())
	for id, there := range map[string]bool{"upl_unused": false, "upl_used": true, "upl_young": true} {
		_, err := bucket.Stat(t.Context(), "uploads/default/"+id)
		require.Equal(t, there, err == nil, id)
	}

	b.Exec(t, `select forget_text(num) from jobs`)
	require.NoError(t, k.Round(t.Context(), b.Store))
	require.Equal(t, 1, tally(), "nobody has it any more")
	_, err := bucket.Stat(t.Context(), "uploads/default/upl_used")
	require.Equal(t, job.NotFound, job.KindOf(err))
}

// away is a bucket that cannot be reached.
type away struct{}

func (away) Delete(context.Context, string) error {
	return &job.Error{Op: "away", Kind: job.Unavailable, Err: errors.New("connection refused")}
}

func (away) SweepUploads(context.Context, time.Time) (int, error) {
	return 0, &job.Error{Op: "away", Kind: job.Unavailable, Err: errors.New("connection refused")}
}

// later is a bucket on another day.
type later struct {
	*blob.Store
	by time.Duration
}

func (l later) SweepUploads(ctx context.Context, before time.Time) (int, error) {
	return l.Store.SweepUploads(ctx, before.Add(l.by))
}

func TestPartsOfAFileThatNobodyFinishedGo(t *testing.T) {
	t.Parallel()
	b, bucket := storetest.New(t), testkit.S3(t)
	r, w := io.Pipe()
	ended := make(chan error, 1)
	go func() {
		_, err := bucket.Put(t.Context(), "half.wav", r, -1, blob.PutOptions{})
		ended <- err
	}()
	_, err := w.Write(make([]byte, 6<<20)) // one part and the beginning of the next
	require.NoError(t, err)
	k := housekeeping.New(housekeeping.DefaultConfig(), later{bucket, 49 * time.Hour}, testkit.Log(t), nil)
	require.NoError(t, k.Round(t.Context(), b.Store))
	n, err := bucket.SweepUploads(t.Context(), time.Now().Add(time.Hour))
	require.NoError(t, err)
	require.Zero(t, n)
	require.NoError(t, w.Close())
	require.Error(t, <-ended, "its parts are gone")
}

func TestABucketThatIsAwayKeepsTheRow(t *testing.T) {
	t.Parallel()
	b := storetest.New(t)
	b.Exec(t, `insert into uploads (id, tenant_id, media_type, max_bytes, object_key, expires_at)
values ('upl_1', 'default', 'text/plain', 1, 'uploads/default/upl_1', now() - interval '30 days')`)
	k := housekeeping.New(housekeeping.DefaultConfig(), away{}, testkit.Log(t), nil)
	require.Error(t, k.Round(t.Context(), b.Store))
	require.Equal(t, 1, b.Count(t, `select count(*) from uploads`))
}

func TestALateCancelIsAppliedAndTold(t *testing.T) {
	t.Parallel()
	b := storetest.New(t)
	id := b.Queue(t, storetest.Tenant, job.Spec{}, 1, 1)
	b.Exec(t, `insert into cancellations (job_id, tenant_id) values ($1, 'default')`, id)
	cfg := housekeeping.DefaultConfig()
	cfg.CancelEvery = 20 * time.Millisecond
	told := make(chan []store.Version, 1)
	k := housekeeping.New(cfg, testkit.S3(t), testkit.Log(t), func(v []store.Version) { told <- v })
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- k.Run(ctx, b.Store) }()
	require.Equal(t, id, (<-told)[0].ID)
	cancel()
	require.NoError(t, <-done)
	state, _, _ := b.State(t, id)
	require.Equal(t, job.StateCancelled, state)
	require.Equal(t, 2, b.Count(t, `select count(*) from segments where state = 'cancelled'`))
}
