package pg_test

import (
	"context"
	"testing"
	"time"

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
	require.NoError(t, migrate.Up(t.Context(), pool, testkit.Log(t)))
	require.NoError(t, <-done)
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	require.ErrorContains(t, pg.AwaitSchema(ctx, empty(t), testkit.Log(t)), "wanted")
}
