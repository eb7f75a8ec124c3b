package pg_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/platform/config"
	"github.com/voicemill/voicemill/platform/pg"
	"github.com/voicemill/voicemill/platform/testkit"
)

func TestMain(m *testing.M) { testkit.Main(m) }

// empty returns a pool on a database without the schema.
func empty(t *testing.T) *pg.Pool {
	t.Helper()
	pool, err := pg.Connect(t.Context(), pg.Config{DSN: config.NewSecret(testkit.EmptyPostgresDSN(t))}, testkit.Log(t))
	require.NoError(t, err)
	t.Cleanup(pool.Close)
	return pool
}

func applied(t *testing.T, pool *pg.Pool) (n int) {
	t.Helper()
	err := pool.QueryRow(t.Context(), "select count(*) from goose_db_version where version_id > 0").Scan(&n)
	require.NoError(t, err)
	return n
}

func TestMigrateTwiceChangesNothing(t *testing.T) {
	t.Parallel()
	pool := empty(t)
	require.NoError(t, pg.Migrate(t.Context(), pool, testkit.Log(t)))
	first := applied(t, pool)
	require.Positive(t, first)
	require.NoError(t, pg.Migrate(t.Context(), pool, testkit.Log(t)))
	require.Equal(t, first, applied(t, pool))
}

func TestOnlyOneOfThreeProcessesMigrates(t *testing.T) {
	t.Parallel()
	pool := empty(t)
	var all sync.WaitGroup
	errs := make([]error, 3)
	for i := range errs {
		all.Go(func() { errs[i] = pg.Migrate(context.WithoutCancel(t.Context()), pool, testkit.Log(t)) })
	}
	all.Wait()
	for _, err := range errs {
		require.NoError(t, err)
	}
	var doubled int
	err := pool.QueryRow(t.Context(), "select count(*) from (select 1 from goose_db_version group by version_id having count(*) > 1) d").Scan(&doubled)
	require.NoError(t, err)
	require.Zero(t, doubled)
}

func TestPostgresGivesEachTestAMigratedDatabase(t *testing.T) {
	t.Parallel()
	a, b := testkit.Postgres(t), testkit.Postgres(t)
	require.NoError(t, pg.EnsureTenant(t.Context(), a, "default"))
	var n int
	require.NoError(t, b.QueryRow(t.Context(), "select count(*) from tenants").Scan(&n))
	require.Zero(t, n)
}

func TestTheSchemaIsWaitedFor(t *testing.T) {
	t.Parallel()
	pool := empty(t)
	done := make(chan error, 1)
	go func() { done <- pg.AwaitSchema(t.Context(), pool, testkit.Log(t)) }()
	require.NoError(t, pg.Migrate(t.Context(), pool, testkit.Log(t)))
	require.NoError(t, <-done)
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	require.ErrorContains(t, pg.AwaitSchema(ctx, empty(t), testkit.Log(t)), "wanted")
}
