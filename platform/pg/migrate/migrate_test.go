package migrate_test

import (
	"context"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/platform/config"
	"github.com/voicemill/voicemill/platform/pg"
	"github.com/voicemill/voicemill/platform/pg/migrate"
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

// Nobody writes to a table while it is read to prove what holds of each row.
func TestALargeTableIsNotReadWhileItIsLocked(t *testing.T) {
	t.Parallel()
	pool := empty(t)
	require.NoError(t, migrate.Up(t.Context(), pool, testkit.Log(t)))
	var proved bool
	err := pool.QueryRow(t.Context(), "select convalidated from pg_constraint where conrelid = 'blocks'::regclass and conname like '%instructions%'").Scan(&proved)
	require.NoError(t, err)
	require.False(t, proved)
}

func TestMigrateTwiceChangesNothing(t *testing.T) {
	t.Parallel()
	pool := empty(t)
	require.NoError(t, migrate.Up(t.Context(), pool, testkit.Log(t)))
	first := applied(t, pool)
	require.Positive(t, first)
	require.NoError(t, migrate.Up(t.Context(), pool, testkit.Log(t)))
	require.Equal(t, first, applied(t, pool))
}

func TestOnlyOneOfThreeProcessesMigrates(t *testing.T) {
	t.Parallel()
	pool := empty(t)
	var all sync.WaitGroup
	errs := make([]error, 3)
	for i := range errs {
		all.Go(func() { errs[i] = migrate.Up(context.WithoutCancel(t.Context()), pool, testkit.Log(t)) })
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
