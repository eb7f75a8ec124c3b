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
	_, err = conn.Exec(t.Context(), queries.Get("StageTable")) // what the others refer to
	require.NoError(t, err)
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
	waiting := func() (yes bool) {
		err := db.QueryRow(ctx, `select exists (select 1 from pg_locks where locktype = 'advisory' and not granted
			and database = (select oid from pg_database where datname = current_database()))`).Scan(&yes)
		return err == nil && yes
	}
	require.Eventually(t, waiting, 10*time.Second, time.Millisecond)
	require.NoError(t, gateway.Commit(ctx))
	states := map[job.ID]job.State{}
	for _, in := range <-done {
		states[in.ID] = in.State
	}
	require.Len(t, states, 2)
	require.Equal(t, job.StateCancelled, states[a.ID])
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

	done, err := s.CancelLate(t.Context(), 10)
	require.NoError(t, err)
	require.Equal(t, []store.Version{{ID: a.ID, Version: 2}}, done)
	done, err = s.CancelLate(t.Context(), 10)
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
	require.NoError(t, s.InsertBroken(t.Context(), &a, "It is broken."))
	require.NoError(t, s.InsertBroken(t.Context(), &a, "It is broken."))
	var state, detail string
	require.NoError(t, db.QueryRow(t.Context(), `select state, error_detail from jobs where id = $1`, a.ID).Scan(&state, &detail))
	require.Equal(t, "failed", state)
	require.Equal(t, "It is broken.", detail)
	var n int
	require.NoError(t, db.QueryRow(t.Context(), `select count(*) from deliveries where job_id = $1`, a.ID).Scan(&n))
	require.Equal(t, 1, n)
}
