package store_test

import (
	"context"
	"crypto/rand"
	"os"
	"path/filepath"
	"regexp"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/platform/bus"
	"github.com/voicemill/voicemill/platform/pg"
	"github.com/voicemill/voicemill/platform/testkit"
	"github.com/voicemill/voicemill/scheduler/internal/store"
	"github.com/voicemill/voicemill/scheduler/internal/storetest"
)

func TestMain(m *testing.M) { testkit.Main(m) }

const tenant = job.Tenant("default")

func open(t *testing.T) (*store.Store, *pg.Pool) {
	t.Helper()
	db := testkit.Postgres(t)
	require.NoError(t, pg.EnsureTenant(t.Context(), db, tenant))
	s, err := store.New(db, rand.Reader)
	require.NoError(t, err)
	return s, db
}

func accepted(t *testing.T, text string) bus.AcceptedJob {
	t.Helper()
	m, err := job.NewMinter([]byte("0123456789abcdef"), rand.Reader)
	require.NoError(t, err)
	id, err := m.Mint(tenant, time.Now())
	require.NoError(t, err)
	spec := job.Spec{Input: job.Input{Text: text}}
	spec.Normalize()
	return bus.AcceptedJob{ID: id, Tenant: tenant, Spec: spec, AcceptedAt: time.Now()}
}

// Every statement must be one that the migrated schema understands.
func TestEveryQueryFitsTheSchema(t *testing.T) {
	t.Parallel()
	_, db := open(t)
	queries, err := pg.LoadQueries(os.DirFS("."), "sql")
	require.NoError(t, err)
	conn, err := db.Acquire(t.Context())
	require.NoError(t, err)
	defer conn.Release()
	name := regexp.MustCompile(`(?m)^-- name: (\w+)`)
	files, err := filepath.Glob("sql/*.sql")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, file := range files {
		raw, err := os.ReadFile(file)
		require.NoError(t, err)
		for _, m := range name.FindAllStringSubmatch(string(raw), -1) {
			_, err := conn.Conn().Prepare(t.Context(), m[1], queries.Get(m[1]))
			require.NoError(t, err, "%s in %s", m[1], file)
		}
	}
}

func TestAJobThatComesTwiceIsOneRow(t *testing.T) {
	t.Parallel()
	s, db := open(t)
	a, b := accepted(t, "One."), accepted(t, "Two.")
	fresh, err := s.InsertJobs(t.Context(), []bus.AcceptedJob{a, b, a})
	require.NoError(t, err)
	require.Len(t, fresh, 2)
	fresh, err = s.InsertJobs(t.Context(), []bus.AcceptedJob{b, a})
	require.NoError(t, err)
	require.Empty(t, fresh)
	var n int
	require.NoError(t, db.QueryRow(t.Context(), `select count(*) from jobs where state = 'accepted' and version = 1`).Scan(&n))
	require.Equal(t, 2, n)
}

func TestAJobCancelledBeforeItsRowIsStoredCancelledWithItsCallback(t *testing.T) {
	t.Parallel()
	s, db := open(t)
	a := accepted(t, "Never mind.")
	a.Spec.Callback = &job.Callback{URL: "https://example.org/hook"}
	_, err := db.Exec(t.Context(), `insert into cancellations (job_id, tenant_id) values ($1, $2)`, a.ID, tenant)
	require.NoError(t, err)
	fresh, err := s.InsertJobs(t.Context(), []bus.AcceptedJob{a})
	require.NoError(t, err)
	require.Equal(t, job.StateCancelled, fresh[0].State)
	var event, url string
	require.NoError(t, db.QueryRow(t.Context(), `select event, url from deliveries where job_id = $1`, a.ID).Scan(&event, &url))
	require.Equal(t, job.EventCancelled, event)
	require.Equal(t, a.Spec.Callback.URL, url)
}

func TestARowWaitsForTheCancelThatIsBeingWritten(t *testing.T) {
	t.Parallel()
	s, db := open(t)
	ctx := t.Context()
	a, another := accepted(t, "Never mind."), accepted(t, "Another.")
	gateway, err := db.Begin(ctx)
	require.NoError(t, err)
	defer func() { _ = gateway.Rollback(context.WithoutCancel(ctx)) }()
	_, err = gateway.Exec(ctx, `select lock_arrival($1)`, a.ID)
	require.NoError(t, err)
	_, err = gateway.Exec(ctx, `insert into cancellations (job_id, tenant_id) values ($1, $2)`, a.ID, tenant)
	require.NoError(t, err)

	done := make(chan []store.Inserted, 1)
	go func() {
		fresh, err := s.InsertJobs(ctx, []bus.AcceptedJob{another, a})
		if err != nil {
			t.Error(err)
		}
		done <- fresh
	}()
	testkit.Blocked(t, db, 1)
	require.NoError(t, gateway.Commit(ctx))
	states := map[job.ID]job.State{}
	for _, in := range <-done {
		states[in.ID] = in.State
	}
	require.Len(t, states, 2)
	require.Equal(t, job.StateCancelled, states[a.ID])
}

// What waited for a lock happened when it had it, not when it began to wait:
// else a job ends before it starts, and its callbacks go out in that order.
func TestTimesAreThoseOfTheChangeNotOfTheWait(t *testing.T) {
	t.Parallel()
	callback := &job.Callback{URL: "https://example.org/hook", Events: []string{job.EventStarted, job.EventFailed, job.EventCancelled}}
	cancel := func(t *testing.T, b *storetest.Base, id job.ID) {
		t.Helper()
		b.Exec(t, `insert into cancellations (job_id, tenant_id) values ($1, 'default')`, id)
	}
	for name, act := range map[string]func(*testing.T, *storetest.Base) (job.ID, func(context.Context) error){
		"a start": func(t *testing.T, b *storetest.Base) (job.ID, func(context.Context) error) {
			t.Helper()
			id := b.Queue(t, tenant, job.Spec{Callback: callback}, 1)
			var num int64
			b.One(t, `select num from jobs where id = $1`, []any{id}, &num)
			b.Exec(t, `insert into leases values ('test', 1, 'test', 'infinity')`)
			return id, func(ctx context.Context) error {
				_, err := b.Store.Under(pg.Lease{Name: "test", Epoch: 1}).Step(ctx, store.Step{Starts: []store.Start{{Job: num, URL: callback.URL}}})
				return err
			}
		},
		"a failed plan": func(t *testing.T, b *storetest.Base) (job.ID, func(context.Context) error) {
			t.Helper()
			id := b.Accept(t, tenant, job.Spec{Input: job.Input{Text: "x"}, Callback: callback})
			b.Exec(t, `update jobs set state = 'planning' where id = $1`, id)
			return id, func(ctx context.Context) error { _, err := b.Store.FailPlan(ctx, id, job.Invalid, "No."); return err }
		},
		"a late cancel": func(t *testing.T, b *storetest.Base) (job.ID, func(context.Context) error) {
			t.Helper()
			id := b.Queue(t, tenant, job.Spec{Callback: callback}, 1)
			cancel(t, b, id)
			return id, func(ctx context.Context) error { _, err := b.Store.CancelLate(ctx, 10); return err }
		},
		"an early cancel": func(t *testing.T, b *storetest.Base) (job.ID, func(context.Context) error) {
			t.Helper()
			a := b.Accepted(t, tenant, job.Spec{Input: job.Input{Text: "x"}, Callback: callback})
			cancel(t, b, a.ID)
			return a.ID, func(ctx context.Context) error {
				_, err := b.Store.InsertJobs(ctx, []bus.AcceptedJob{a})
				return err
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := storetest.New(t)
			id, change := act(t, b)
			other, err := b.DB.Begin(t.Context())
			require.NoError(t, err)
			defer func() { _ = other.Rollback(context.WithoutCancel(t.Context())) }()
			_, err = other.Exec(t.Context(), `select lock_arrival($1), (select true from jobs where id = $1 for update)`, id)
			require.NoError(t, err)
			done := make(chan error, 1)
			go func() { done <- change(t.Context()) }()
			testkit.Blocked(t, b.DB, 1)
			var waited, changed, told time.Time
			b.One(t, `select clock_timestamp()`, nil, &waited)
			require.NoError(t, other.Commit(t.Context()))
			require.NoError(t, <-done)
			b.One(t, `select coalesce(finished_at, started_at), d.created_at from jobs j join deliveries d on d.job_id = j.id`, nil, &changed, &told)
			require.True(t, changed.After(waited), "the job changed %s before", waited.Sub(changed))
			require.True(t, told.After(waited), "its callback was due %s before", waited.Sub(told))
		})
	}
}

func TestACancelThatCrossedItsJobIsAppliedLater(t *testing.T) {
	t.Parallel()
	s, db := open(t)
	a := accepted(t, "Crossed.")
	a.Spec.Callback = &job.Callback{URL: "https://example.org/hook", Events: []string{job.EventCancelled}}
	_, err := s.InsertJobs(t.Context(), []bus.AcceptedJob{a, accepted(t, "Stays.")})
	require.NoError(t, err)
	_, err = db.Exec(t.Context(), `insert into cancellations (job_id, tenant_id) values ($1, $2)`, a.ID, tenant)
	require.NoError(t, err)

	_, err = db.Exec(t.Context(), `insert into leases values ('test', 1, 'test', 'infinity')`)
	require.NoError(t, err)
	leased := s.Under(pg.Lease{Name: "test", Epoch: 1})
	done, err := leased.CancelLate(t.Context(), 10)
	require.NoError(t, err)
	require.Equal(t, []store.Version{{ID: a.ID, Version: 2}}, done)
	done, err = leased.CancelLate(t.Context(), 10)
	require.NoError(t, err)
	require.Empty(t, done)
	var n int
	require.NoError(t, db.QueryRow(t.Context(), `select count(*) from deliveries where job_id = $1 and event = 'job.cancelled'`, a.ID).Scan(&n))
	require.Equal(t, 1, n)
}

func TestABrokenJobIsStoredFailed(t *testing.T) {
	t.Parallel()
	s, db := open(t)
	a := accepted(t, "x")
	a.Tenant, a.Spec.Callback = "newcomer", &job.Callback{URL: "https://example.org/hook"}
	fresh, err := s.InsertBroken(t.Context(), &a, "It is broken.")
	require.NoError(t, err)
	require.Equal(t, []store.Inserted{{Version: store.Version{ID: a.ID, Version: 1}, State: job.StateFailed}}, fresh)
	fresh, err = s.InsertBroken(t.Context(), &a, "It is broken.")
	require.NoError(t, err)
	require.Empty(t, fresh)
	var state, detail string
	require.NoError(t, db.QueryRow(t.Context(), `select state, error_detail from jobs where id = $1`, a.ID).Scan(&state, &detail))
	require.Equal(t, "failed", state)
	require.Equal(t, "It is broken.", detail)
	var n int
	require.NoError(t, db.QueryRow(t.Context(), `select count(*) from deliveries where job_id = $1`, a.ID).Scan(&n))
	require.Equal(t, 1, n)
}

// The gateway has answered that such a job is cancelled.
func TestABrokenJobCancelledBeforeItsRowIsStoredCancelled(t *testing.T) {
	t.Parallel()
	b := storetest.New(t)
	a := b.Accepted(t, tenant, job.Spec{Input: job.Input{Text: "x"}, Callback: &job.Callback{URL: "https://example.org/hook"}})
	gateway, err := b.DB.Begin(t.Context())
	require.NoError(t, err)
	defer func() { _ = gateway.Rollback(context.WithoutCancel(t.Context())) }()
	_, err = gateway.Exec(t.Context(), `select lock_arrival($1)`, a.ID)
	require.NoError(t, err)
	_, err = gateway.Exec(t.Context(), `insert into cancellations (job_id, tenant_id) values ($1, $2)`, a.ID, tenant)
	require.NoError(t, err)
	done := make(chan []store.Inserted, 1)
	go func() {
		fresh, err := b.Store.InsertBroken(t.Context(), &a, "It is broken.")
		if err != nil {
			t.Error(err)
		}
		done <- fresh
	}()
	testkit.Blocked(t, b.DB, 1)
	require.NoError(t, gateway.Commit(t.Context()))
	require.Equal(t, []store.Inserted{{Version: store.Version{ID: a.ID, Version: 1}, State: job.StateCancelled}}, <-done)
	state, kind, _ := b.State(t, a.ID)
	require.Equal(t, job.StateCancelled, state)
	require.Empty(t, kind)
	require.Equal(t, 1, b.Count(t, `select count(*) from deliveries where event = 'job.cancelled'`))
}

// The events of a job's second end are new ones, and still name their chapter.
func TestASecondEndHasEventsOfItsOwn(t *testing.T) {
	t.Parallel()
	b := storetest.New(t)
	id := b.Accept(t, storetest.Tenant, job.Spec{Input: job.Input{Text: "x"}})
	add := func(n int, event string, ordinal int) {
		b.Exec(t, `insert into deliveries (id, tenant_id, job_id, event, ordinal, url, payload) values ('dlv_' || $1::int, 'default', $2, $3, $4, 'http://x', '')
			on conflict (job_id, event, ordinal) do nothing`, n, id, event, ordinal)
	}
	add(1, job.EventChapterReady, 3)
	add(2, job.EventFailed, 0)
	add(3, job.EventFailed, 0) // the same end
	b.Exec(t, `update jobs set reopened = 2`)
	add(4, job.EventChapterReady, 3)
	add(5, job.EventFailed, 0)
	var told [][3]any
	for range 4 {
		list, err := b.Store.ClaimDeliveries(t.Context(), 1, time.Hour, nil, nil)
		require.NoError(t, err)
		require.Len(t, list, 1)
		told = append(told, [3]any{list[0].Event, list[0].Ordinal, list[0].Sequence})
		require.NoError(t, b.Store.SettleDelivery(t.Context(), list[0].ID, store.Attempt{N: 1, State: "delivered"}))
	}
	require.Equal(t, [][3]any{
		{job.EventChapterReady, 3, 1}, {job.EventFailed, 0, 2}, {job.EventChapterReady, 3, 3}, {job.EventFailed, 0, 4},
	}, told)
}
