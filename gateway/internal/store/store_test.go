package store_test

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/api/jobdoc"
	"github.com/voicemill/voicemill/gateway/internal/auth"
	"github.com/voicemill/voicemill/gateway/internal/store"
	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/platform/config"
	"github.com/voicemill/voicemill/platform/pg"
	"github.com/voicemill/voicemill/platform/testkit"
)

func TestMain(m *testing.M) { testkit.Main(m) }

const tenant job.Tenant = "default"

func newStore(t *testing.T) (*store.Store, *pg.Pool) {
	t.Helper()
	db := testkit.Postgres(t)
	require.NoError(t, pg.EnsureTenant(t.Context(), db, tenant))
	require.NoError(t, pg.EnsureTenant(t.Context(), db, "other"))
	s, err := store.New(db, rand.Reader)
	require.NoError(t, err)
	return s, db
}

func exec(t *testing.T, db *pg.Pool, sql string, args ...any) {
	t.Helper()
	_, err := db.Exec(t.Context(), sql, args...)
	require.NoError(t, err)
}

// insertJob writes a job as the scheduler does.
func insertJob(t *testing.T, db *pg.Pool, id job.ID, state job.State, spec string, at time.Time) {
	t.Helper()
	exec(t, db, `insert into jobs (id, tenant_id, class, state, spec, labels, on_failure, accepted_at, finished_at)
		values ($1, $2, 'bulk', $3, $4::jsonb, coalesce($4::jsonb -> 'labels', '{}'), 'fail', $5, case when $3 in ('cancelled') then now() end)`,
		id, tenant, state, spec, at)
}

func TestEveryQueryFitsTheSchema(t *testing.T) {
	t.Parallel()
	s, db := newStore(t)
	require.NoError(t, s.Check(t.Context()))
	_, err := db.Exec(t.Context(), "prepare job_document as "+jobdoc.SelectJob())
	require.NoError(t, err)
}

func TestAKeyIsFoundByItsHashUntilItIsRevoked(t *testing.T) {
	t.Parallel()
	s, db := newStore(t)
	ctx := t.Context()
	const secret = "vm_0123456789abcdefghjkmnpqrs"
	keyID, err := s.NewKeyID()
	require.NoError(t, err)
	k, err := s.RegisterKey(ctx, tenant, store.Key{ID: keyID, Name: "laptop", Scopes: []auth.Scope{auth.JobsRead}}, auth.HashKey(secret))
	require.NoError(t, err)

	id, err := s.FindKey(ctx, auth.HashKey(secret))
	require.NoError(t, err)
	require.Equal(t, &auth.Identity{KeyID: k.ID, Tenant: tenant, Scopes: []auth.Scope{auth.JobsRead}}, id)
	none, err := s.FindKey(ctx, auth.HashKey("vm_wrong"))
	require.NoError(t, err)
	require.Nil(t, none)

	var stored string
	require.NoError(t, db.QueryRow(ctx, `select string_agg(k::text, ' ') from api_keys k`).Scan(&stored))
	require.NotContains(t, stored, secret, "a secret is never stored")

	require.Equal(t, job.NotFound, job.KindOf(s.RevokeKey(ctx, "other", k.ID, false)), "another tenant's key")
	require.NoError(t, s.RevokeKey(ctx, tenant, k.ID, false))
	require.NoError(t, s.RevokeKey(ctx, tenant, k.ID, false))
	none, err = s.FindKey(ctx, auth.HashKey(secret))
	require.NoError(t, err)
	require.Nil(t, none)
}

func TestTheFirstOfManyEqualRequestsOwnsTheIdempotencyKey(t *testing.T) {
	t.Parallel()
	s, _ := newStore(t)
	body := sha256.Sum256([]byte("body"))
	const clients = 64
	var all sync.WaitGroup
	owners := make([]string, clients)
	for i := range clients {
		all.Go(func() {
			owner, err := s.ClaimIdempotencyKey(t.Context(), tenant, "key", body, fmt.Sprintf("job_%d", i))
			if err == nil {
				owners[i] = owner
			}
		})
	}
	all.Wait()
	require.NotEmpty(t, owners[0])
	for _, owner := range owners {
		require.Equal(t, owners[0], owner)
	}
	_, err := s.ClaimIdempotencyKey(t.Context(), tenant, "key", sha256.Sum256([]byte("other")), "job_x")
	require.Equal(t, job.Conflict, job.KindOf(err))
	owner, err := s.ClaimIdempotencyKey(t.Context(), "other", "key", body, "job_y")
	require.NoError(t, err)
	require.Equal(t, "job_y", owner, "keys of tenants do not meet")
}

func TestManyKeysAtOnceAreClaimedAsOneByOne(t *testing.T) {
	t.Parallel()
	s, db := newStore(t)
	body, other := sha256.Sum256([]byte("body")), sha256.Sum256([]byte("other"))
	_, err := s.ClaimIdempotencyKey(t.Context(), tenant, "k1", body, "job_one")
	require.NoError(t, err)
	_, err = s.ClaimIdempotencyKey(t.Context(), tenant, "k2", other, "job_two")
	require.NoError(t, err)
	for n := 3; n < 40; n++ {
		_, err = s.ClaimIdempotencyKey(t.Context(), tenant, fmt.Sprintf("k%d", n), other, "job_old")
		require.NoError(t, err)
	}
	exec(t, db, `update idempotency_keys set created_at = now() - interval '25 hours' where job_id = 'job_old'`)
	const clients = 16
	owners := make([][]string, clients)
	var all sync.WaitGroup
	for i := range clients {
		all.Go(func() {
			var claims []store.Claim
			for n := range 50 {
				claims = append(claims, store.Claim{Key: fmt.Sprintf("k%d", n), Body: body, ID: fmt.Sprintf("job_%d_%d", i, n)})
			}
			if err := s.ClaimIdempotencyKeys(t.Context(), tenant, claims); err != nil {
				t.Error(err)
			}
			for _, c := range claims {
				owners[i] = append(owners[i], c.Owner)
			}
		})
	}
	all.Wait()
	for _, o := range owners {
		require.Equal(t, owners[0], o)
	}
	require.Equal(t, "job_one", owners[0][1])
	require.Empty(t, owners[0][2], "its first request had another body")
	for n := 3; n < 50; n++ { // those below 40 had expired
		require.Regexp(t, fmt.Sprintf(`^job_\d+_%d$`, n), owners[0][n])
	}
}

func TestAnIdempotencyKeyIsKeptForADay(t *testing.T) {
	t.Parallel()
	s, db := newStore(t)
	claim := func(body, id string) (string, error) {
		return s.ClaimIdempotencyKey(t.Context(), tenant, "key", sha256.Sum256([]byte(body)), id)
	}
	_, err := claim("a", "job_1")
	require.NoError(t, err)
	exec(t, db, `update idempotency_keys set created_at = now() - interval '23 hours 59 minutes'`)
	_, err = claim("b", "job_2")
	require.Equal(t, job.Conflict, job.KindOf(err))
	exec(t, db, `update idempotency_keys set created_at = now() - interval '24 hours 1 minute'`)
	owner, err := claim("b", "job_2")
	require.NoError(t, err)
	require.Equal(t, "job_2", owner)
}

func TestCancelEndsTheJobItsSegmentsAndTellsItsOwner(t *testing.T) {
	t.Parallel()
	s, db := newStore(t)
	ctx := t.Context()
	insertJob(t, db, "job_a", job.StateRunning, `{"callback":{"url":"https://example.com/hook"}}`, time.Now())
	exec(t, db, `update jobs set segments_total = 4, segments_done = 1, chapters_total = 1 where id = 'job_a'`)
	exec(t, db, `insert into chapters (job_id, ordinal, state, first_segment, segments_total, plan_digest) values ('job_a', 1, 'pending', 1, 4, '')`)
	testkit.PutSegments(t, db, "job_a", make([]testkit.Segment, 4))
	testkit.SetSegment(t, db, "job_a", 1, job.SegmentDone, 1, "", "")
	testkit.SetSegment(t, db, "job_a", 2, job.SegmentReleased, 1, "", "")
	exec(t, db, `insert into outbox (kind, job_id, ordinal) values ('assemble', 'job_a', 1)`)

	c, err := s.CancelJob(ctx, tenant, "job_a")
	require.NoError(t, err)
	require.True(t, c.Changed)
	require.Equal(t, int64(2), c.Version)
	require.True(t, c.Released)

	var states, events string
	var outbox int
	require.NoError(t, db.QueryRow(ctx, `select string_agg(state, ' ' order by n) from segments where job_id = 'job_a'`).Scan(&states))
	require.Equal(t, "done cancelled cancelled cancelled", states)
	require.NoError(t, db.QueryRow(ctx, `select string_agg(event || ' ' || url || ' ' || payload, ';') from deliveries where job_id = 'job_a'`).Scan(&events))
	require.Equal(t, "job.cancelled https://example.com/hook ", events)
	require.NoError(t, db.QueryRow(ctx, `select count(*) from outbox`).Scan(&outbox))
	require.Zero(t, outbox)

	again, err := s.CancelJob(ctx, tenant, "job_a")
	require.NoError(t, err)
	require.False(t, again.Changed)
	row, err := s.ReadJob(ctx, tenant, "job_a")
	require.NoError(t, err)
	require.Equal(t, int64(2), row.Version)
	require.Equal(t, "cancelled", row.State)
}

func TestTheCancelOfAJobWithoutARowIsWrittenDown(t *testing.T) {
	t.Parallel()
	s, _ := newStore(t)
	ctx := t.Context()
	c, err := s.CancelJob(ctx, tenant, "job_b")
	require.NoError(t, err)
	require.True(t, c.Early)
	fate, err := s.FateOf(ctx, "job_b")
	require.NoError(t, err)
	require.Equal(t, store.Fate{Cancelled: true}, fate)
	found, err := s.Versions(ctx, []job.ID{"job_b", "job_unknown"})
	require.NoError(t, err)
	require.Len(t, found, 1)
	require.True(t, found["job_b"].Final)
}

func TestACancelWaitsForTheRowThatIsBeingWritten(t *testing.T) {
	t.Parallel()
	s, db := newStore(t)
	ctx := t.Context()
	scheduler, err := db.Begin(ctx)
	require.NoError(t, err)
	defer func() { _ = scheduler.Rollback(context.WithoutCancel(ctx)) }()
	_, err = scheduler.Exec(ctx, `select lock_arrivals(array['job_c', 'job_d'])`)
	require.NoError(t, err)
	_, err = scheduler.Exec(ctx, `insert into jobs (id, tenant_id, class, state, spec, on_failure, accepted_at) values ('job_c', $1, 'bulk', 'accepted', '{}', 'fail', now())`, tenant)
	require.NoError(t, err)

	done := make(chan store.Cancelled, 1)
	go func() {
		c, err := s.CancelJob(ctx, tenant, "job_c")
		for job.KindOf(err) == job.Overloaded && ctx.Err() == nil { // the test was slower than the cancel waits
			c, err = s.CancelJob(ctx, tenant, "job_c")
		}
		if err != nil {
			t.Error(err)
		}
		done <- c
	}()
	testkit.Blocked(t, db, 1)
	require.NoError(t, scheduler.Commit(ctx))
	require.Equal(t, store.Cancelled{Changed: true, Version: 2, Class: job.Bulk}, <-done)
	row, err := s.ReadJob(ctx, tenant, "job_c")
	require.NoError(t, err)
	require.Equal(t, "cancelled", row.State)
}

// A scheduler that stands still while it stores jobs must not stop the others,
// who queue behind the cancel, nor make the database look away.
func TestACancelDoesNotWaitForLongForARow(t *testing.T) {
	t.Parallel()
	s, db := newStore(t)
	ctx := t.Context()
	stalled, err := db.Begin(ctx)
	require.NoError(t, err)
	defer func() { _ = stalled.Rollback(context.WithoutCancel(ctx)) }()
	_, err = stalled.Exec(ctx, `select lock_arrivals(array['job_c'])`)
	require.NoError(t, err)

	cancels := make(chan error)
	for range 4 { // more than open the breaker
		go func() {
			_, err := s.CancelJob(ctx, tenant, "job_c")
			cancels <- err
		}()
	}
	testkit.Blocked(t, db, 1)
	exec(t, db, `select lock_arrivals(array['job_c'])`) // waits behind them, no longer than they
	for range 4 {
		require.Equal(t, job.Overloaded, job.KindOf(<-cancels))
	}
	require.NoError(t, s.Available())
	require.NoError(t, stalled.Rollback(ctx))
	c, err := s.CancelJob(ctx, tenant, "job_c")
	require.NoError(t, err)
	require.True(t, c.Early)
}

// Who plans a book locks the job's row for each lot of it, and on a machine that
// is busy may have the next lock before a cancel is awake. The wish stays, and
// ends that.
func TestACancelThatDoesNotComeToTheRowIsWrittenDown(t *testing.T) {
	t.Parallel()
	s, db := newStore(t)
	ctx := t.Context()
	insertJob(t, db, "job_c", job.StatePlanning, `{}`, time.Now())
	planner, err := db.Begin(ctx)
	require.NoError(t, err)
	defer func() { _ = planner.Rollback(context.WithoutCancel(ctx)) }()
	_, err = planner.Exec(ctx, `select from jobs where id = 'job_c' for share`)
	require.NoError(t, err)
	_, err = s.CancelJob(ctx, tenant, "job_c")
	require.Equal(t, job.Overloaded, job.KindOf(err), "%v", err)
	require.NoError(t, s.Available(), "the database is well")
	var wishes int
	require.NoError(t, db.QueryRow(ctx, `select count(*) from cancellations where job_id = 'job_c' and tenant_id = $1`, tenant).Scan(&wishes))
	require.Equal(t, 1, wishes)
}

func TestACancelThatWaitedForAStartComesAfterIt(t *testing.T) {
	t.Parallel()
	s, db := newStore(t)
	ctx := t.Context()
	insertJob(t, db, "job_c", job.StateQueued, `{"callback":{"url":"https://example.org/hook"}}`, time.Now())
	scheduler, err := db.Begin(ctx)
	require.NoError(t, err)
	defer func() { _ = scheduler.Rollback(context.WithoutCancel(ctx)) }()
	_, err = scheduler.Exec(ctx, `select from jobs where id = 'job_c' for no key update`)
	require.NoError(t, err)
	done := make(chan error, 1)
	go func() {
		_, err := s.CancelJob(ctx, tenant, "job_c")
		done <- err
	}()
	testkit.Blocked(t, db, 1)
	_, err = scheduler.Exec(ctx, `update jobs set state = 'running', started_at = clock_timestamp() where id = 'job_c'`)
	require.NoError(t, err)
	_, err = scheduler.Exec(ctx, `insert into deliveries (id, tenant_id, job_id, event, url, payload) values ('dlv_1', 'default', 'job_c', 'job.started', '', '')`)
	require.NoError(t, err)
	require.NoError(t, scheduler.Commit(ctx))
	require.NoError(t, <-done)
	var ordered bool
	var events []string
	require.NoError(t, db.QueryRow(ctx, `select started_at < finished_at, array(select event from deliveries where job_id = jobs.id order by created_at)
		from jobs where id = 'job_c'`).Scan(&ordered, &events))
	require.True(t, ordered, "it ended before it began")
	require.Equal(t, []string{job.EventStarted, job.EventCancelled}, events)
}

func TestListsPageWithoutLosingOrRepeating(t *testing.T) {
	t.Parallel()
	s, db := newStore(t)
	ctx := t.Context()
	at := time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)
	for n := range 25 {
		state := job.StateAccepted
		if n%5 == 0 {
			state = job.StateCancelled
		}
		// Every second job shares its moment with the one before.
		insertJob(t, db, job.ID(fmt.Sprintf("job_%02d", n)), state, fmt.Sprintf(`{"labels":{"n":"%d","book":"x"}}`, n%3), at.Add(time.Duration(n/2)*time.Second))
	}
	page := func(f store.JobFilter, limit int) (ids []string) {
		var after store.Cursor
		for {
			rows, err := s.ListJobs(ctx, tenant, f, after, limit)
			require.NoError(t, err)
			for _, r := range rows {
				ids = append(ids, r.ID)
			}
			if len(rows) < limit {
				return ids
			}
			last := rows[len(rows)-1]
			var ok bool
			after, ok = store.ParseCursor(store.Cursor{At: last.AcceptedAt, ID: last.ID}.String())
			require.True(t, ok)
		}
	}
	all := page(store.JobFilter{}, 4)
	require.Len(t, all, 25)
	require.Equal(t, "job_24", all[0])
	require.IsDecreasing(t, all)
	require.Len(t, page(store.JobFilter{States: []job.State{job.StateCancelled}}, 2), 5)
	require.Len(t, page(store.JobFilter{Labels: map[string]string{"n": "1", "book": "x"}}, 3), 8)
	require.Empty(t, page(store.JobFilter{Class: job.Interactive}, 3))
	from, to := at.Add(2*time.Second), at.Add(4*time.Second)
	require.Equal(t, []string{"job_07", "job_06", "job_05", "job_04"}, page(store.JobFilter{CreatedAfter: &from, CreatedBefore: &to}, 3))
	rows, err := s.ListJobs(ctx, "other", store.JobFilter{}, store.Cursor{}, 10)
	require.NoError(t, err)
	require.Empty(t, rows)
}

func TestADocumentHasItsChaptersArtifactsAndFailures(t *testing.T) {
	t.Parallel()
	s, db := newStore(t)
	ctx := t.Context()
	insertJob(t, db, "job_c", job.StateRunning, `{}`, time.Now())
	exec(t, db, `update jobs set segments_total = 200, segments_failed = 150, chapters_total = 1, predicted_seconds = 100, done_seconds = 50, started_at = now() - interval '10 s' where id = 'job_c'`)
	exec(t, db, `insert into chapters (job_id, ordinal, title, state, first_segment, segments_total, segments_done, segments_failed, plan_digest, sample_rate, audio_samples, artifact, object_key)
		values ('job_c', 1, 'One "quoted"', 'ready', 1, 200, 50, 150, '', 22050, 44100, 'chapter-001.wav', 'k')`)
	exec(t, db, `insert into exceptions (job, n, state, attempts, error_kind, error_detail)
		select num, n, 'failed', 3, 'engine', 'no sound' from jobs, generate_series(1, 150) n where id = 'job_c'`)
	exec(t, db, `insert into artifacts (job_id, name, media_type, object_key, bytes, sha256, audio_seconds) values ('job_c', 'chapter-001.wav', 'audio/wav', 'k', 44, sha256('x'), 2)`)
	row, err := s.ReadJob(ctx, tenant, "job_c")
	require.NoError(t, err)
	d, err := jobdoc.Build(row, time.Now())
	require.NoError(t, err)
	require.Equal(t, []jobdoc.Chapter{{Ordinal: 1, Title: `One "quoted"`, State: job.ChapterReady, AudioSeconds: 2, Artifact: "chapter-001.wav"}}, d.Chapters)
	require.Len(t, d.Artifacts, 1)
	require.Len(t, d.Artifacts[0].SHA256, 64)
	require.Len(t, d.Failures, jobdoc.MaxFailures)
	require.Equal(t, jobdoc.Failure{Segment: 1, Chapter: 1, Kind: "engine", Detail: "no sound", Attempts: 3}, d.Failures[0])
	require.InDelta(t, 0.5, d.Progress.Fraction, 1e-9)
	require.NotNil(t, d.Progress.ETA)
	_, err = s.ReadJob(ctx, "other", "job_c")
	require.Equal(t, job.NotFound, job.KindOf(err))
}

func TestADatabaseThatIsAwayFailsFast(t *testing.T) {
	t.Parallel()
	s, db := newStore(t)
	require.NoError(t, s.Available())
	db.Close()
	require.Equal(t, job.Unavailable, job.KindOf(s.Probe(context.Background())))
	require.Equal(t, job.Unavailable, job.KindOf(s.Available()))
	_, err := s.FindKey(t.Context(), auth.Hash{})
	require.Equal(t, job.Unavailable, job.KindOf(err))
}

func TestAProbeWithoutAnAnswerInTimeIsOneFailureOfSeveral(t *testing.T) {
	t.Parallel()
	db, err := pg.Connect(t.Context(), pg.Config{DSN: config.NewSecret(testkit.PostgresDSN(t)), MaxConns: 1}, testkit.Log(t))
	require.NoError(t, err)
	t.Cleanup(db.Close)
	s, err := store.New(db, rand.Reader)
	require.NoError(t, err)
	only, err := db.Acquire(t.Context()) // so that nobody else is answered
	require.NoError(t, err)
	t.Cleanup(only.Release)

	gone, leave := context.WithCancel(t.Context())
	leave()
	for range 3 {
		require.Error(t, s.Probe(gone))
	}
	require.NoError(t, s.Available(), "who asked went away")
	for range 2 {
		require.Equal(t, job.Unavailable, job.KindOf(s.Probe(t.Context())))
		require.NoError(t, s.Available())
	}
	require.Error(t, s.Probe(t.Context()))
	require.Equal(t, job.Unavailable, job.KindOf(s.Available()))
	only.Release()
	require.NoError(t, s.Probe(t.Context()))
	require.NoError(t, s.Available())
}

func TestCursorsOfOthersAreRefused(t *testing.T) {
	t.Parallel()
	for _, s := range []string{"x", "!!", "MTIz", "LTEgeA", strings.Repeat("A", 1000), "MSAA"} {
		_, ok := store.ParseCursor(s)
		require.False(t, ok, s)
	}
}

func FuzzParseCursor(f *testing.F) {
	f.Add(store.Cursor{At: time.Unix(1, 0), ID: "job_x"}.String())
	f.Add("")
	f.Add("MTIz")
	f.Fuzz(func(t *testing.T, s string) {
		c, ok := store.ParseCursor(s)
		if !ok || s == "" {
			return
		}
		again, ok := store.ParseCursor(c.String())
		if !ok || again != c {
			t.Fatalf("ParseCursor(%q) = %v; its text reads as %v", s, c, again)
		}
	})
}

func TestACallerWhoLeavesCostsNoConnection(t *testing.T) {
	t.Parallel()
	s, db := newStore(t)
	ctx, leave := context.WithCancel(t.Context())
	defer leave()
	lock, err := db.Begin(t.Context())
	require.NoError(t, err)
	defer func() { _ = lock.Rollback(context.WithoutCancel(t.Context())) }()
	_, err = lock.Exec(t.Context(), "lock table jobs")
	require.NoError(t, err)
	ended := make(chan error, 1)
	go func() {
		_, err := s.JobArrived(ctx, "job_x")
		ended <- err
	}()
	require.Eventually(t, func() bool {
		var waiting int
		require.NoError(t, db.QueryRow(t.Context(), "select count(*) from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()").Scan(&waiting))
		return waiting == 1
	}, time.Minute, 5*time.Millisecond)
	made := db.Stat().NewConnsCount()
	leave()
	require.NoError(t, lock.Rollback(t.Context()))
	require.NoError(t, <-ended, "the question has been asked, so its answer is waited for")
	_, err = s.JobArrived(t.Context(), "job_x")
	require.NoError(t, err)
	require.Equal(t, made, db.Stat().NewConnsCount())
	_, err = s.JobArrived(ctx, "job_x")
	require.Error(t, err, "nothing is asked for a caller who has left")
}
