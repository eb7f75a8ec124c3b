package pg_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/platform/config"
	"github.com/voicemill/voicemill/platform/pg"
	"github.com/voicemill/voicemill/platform/testkit"
)

func dsn(s string) pg.Config {
	return pg.Config{DSN: config.NewSecret(s), ConnectWait: 30 * time.Second}
}

func TestConnectFailsAtOnceWhereWaitingCannotHelp(t *testing.T) {
	t.Parallel()
	good := testkit.EmptyPostgresDSN(t)
	log := slog.New(slog.DiscardHandler)
	_, err := pg.Connect(t.Context(), dsn(strings.Replace(good, "dbname=", "dbname=no_", 1)), log)
	require.ErrorContains(t, err, "3D000")
	_, err = pg.Connect(t.Context(), dsn(strings.Replace(good, "user=", "user=no_", 1)), log)
	require.ErrorContains(t, err, "28P01")
	_, err = pg.Connect(t.Context(), dsn("postgres://u:hunter2@host:port/x"), log)
	require.Error(t, err)
	require.NotContains(t, err.Error(), "hunter2")
	_, err = pg.Connect(t.Context(), pg.Config{}, log)
	require.ErrorContains(t, err, "dsn")
}

// What a server is set to must not decide how statements are planned.
func TestConnectionsSayHowTheyWantToBePlanned(t *testing.T) {
	t.Parallel()
	pool, err := pg.Connect(t.Context(), dsn(testkit.EmptyPostgresDSN(t)), slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	defer pool.Close()
	for setting, want := range map[string]string{"enable_seqscan": "off", "jit": "off", "plan_cache_mode": "force_generic_plan"} {
		var value, source string
		require.NoError(t, pool.QueryRow(t.Context(), `select setting, source from pg_settings where name = $1`, setting).Scan(&value, &source))
		require.Equal(t, want, value, setting)
		require.Equal(t, "client", source, setting)
	}
}

func TestConnectWaitsForADatabaseThatIsAwayAndSaysSoOnce(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	cfg := dsn("host=" + t.TempDir() + " user=voicemill dbname=voicemill") // a folder without a socket
	cfg.ConnectWait = 700 * time.Millisecond
	_, err := pg.Connect(t.Context(), cfg, slog.New(slog.NewTextHandler(&log, nil)))
	require.Equal(t, job.Unavailable, job.KindOf(err))
	require.Equal(t, 1, strings.Count(log.String(), "does not answer"), log.String())

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = pg.Connect(ctx, cfg, slog.New(slog.DiscardHandler))
	require.ErrorIs(t, err, context.Canceled)
}

func TestTxIsAllOrNothing(t *testing.T) {
	t.Parallel()
	pool := testkit.Postgres(t)
	broken := errors.New("broken")
	err := pg.Tx(t.Context(), pool, func(tx pgx.Tx) error {
		_, err := tx.Exec(t.Context(), "insert into tenants (id, callback_secret) values ('a', 'whsec_x')")
		require.NoError(t, err)
		return broken
	})
	require.ErrorIs(t, err, broken)
	var n int
	require.NoError(t, pool.QueryRow(t.Context(), "select count(*) from tenants").Scan(&n))
	require.Zero(t, n)
}

func TestABatchIsAllOrNothing(t *testing.T) {
	t.Parallel()
	pool := testkit.Postgres(t)
	count := func() (n int) {
		require.NoError(t, pool.QueryRow(t.Context(), "select count(*) from tenants").Scan(&n))
		return n
	}
	add := func(second string) error {
		return pg.Batch(t.Context(), pool, func(b *pgx.Batch) error {
			b.Queue("insert into tenants (id, callback_secret) values ('a', 'whsec_x')")
			b.Queue("insert into tenants (id, callback_secret) values ($1, 'whsec_x')", second)
			return nil
		})
	}
	require.Equal(t, job.Conflict, job.KindOf(add("a")))
	require.Zero(t, count())
	broken := errors.New("broken")
	require.ErrorIs(t, pg.Batch(t.Context(), pool, func(*pgx.Batch) error { return broken }), broken)
	require.NoError(t, add("b"))
	require.Equal(t, 2, count())
}

func TestABatchThatTheDatabaseRolledBackIsTriedAgain(t *testing.T) {
	t.Parallel()
	pool := testkit.Postgres(t)
	tries := 0
	err := pg.Batch(t.Context(), pool, func(b *pgx.Batch) error {
		if tries++; tries < 3 {
			b.Queue("do $$ begin raise exception 'collided' using errcode = '40001'; end $$")
		}
		b.Queue("insert into tenants (id, callback_secret) values ('a', 'whsec_x')")
		return nil
	})
	require.NoError(t, err)
	require.Equal(t, 3, tries)
}

func TestTransactionsThatCollideAllGoThrough(t *testing.T) {
	t.Parallel()
	pool := testkit.Postgres(t)
	_, err := pool.Exec(t.Context(), "create table counter (n int); insert into counter values (0)")
	require.NoError(t, err)
	var all sync.WaitGroup
	const writers = 4
	errs := make([]error, writers)
	for i := range writers {
		all.Go(func() {
			errs[i] = pg.Tx(t.Context(), pool, func(tx pgx.Tx) error {
				if _, err := tx.Exec(t.Context(), "set transaction isolation level serializable"); err != nil {
					return err
				}
				var n int
				if err := tx.QueryRow(t.Context(), "select n from counter").Scan(&n); err != nil {
					return err
				}
				_, err := tx.Exec(t.Context(), "update counter set n = $1", n+1)
				return err
			})
		})
	}
	all.Wait()
	require.NoError(t, errors.Join(errs...))
	var n int
	require.NoError(t, pool.QueryRow(t.Context(), "select n from counter").Scan(&n))
	require.Equal(t, writers, n)
}

func TestTxGivesUpOnWhatAlwaysFails(t *testing.T) {
	t.Parallel()
	pool := testkit.Postgres(t)
	tries := 0
	err := pg.Tx(t.Context(), pool, func(tx pgx.Tx) error {
		tries++
		_, err := tx.Exec(t.Context(), "do $$ begin raise exception using errcode = '40001'; end $$")
		return err
	})
	require.Equal(t, job.Unavailable, job.KindOf(err))
	require.Equal(t, 5, tries)

	tries = 0
	err = pg.Tx(t.Context(), pool, func(tx pgx.Tx) error {
		tries++
		_, err := tx.Exec(t.Context(), "select pg_terminate_backend(pg_backend_pid())")
		return err
	})
	require.Equal(t, job.Unavailable, job.KindOf(err))
	require.Equal(t, 1, tries, "a connection lost after something was sent is not retried")
}

func TestTheFirstWriterOfASettingWins(t *testing.T) {
	t.Parallel()
	pool := testkit.Postgres(t)
	var all sync.WaitGroup
	values := make([]string, 8)
	for i := range values {
		all.Go(func() {
			v, err := pg.Setting(t.Context(), pool, "id_key", func() []byte { return []byte{byte(i)} })
			if err != nil {
				t.Errorf("Setting: %v", err)
			}
			values[i] = string(v)
		})
	}
	all.Wait()
	for _, v := range values {
		require.Equal(t, values[0], v)
	}
}

func TestATenantKeepsItsSecret(t *testing.T) {
	t.Parallel()
	pool := testkit.Postgres(t)
	secret := func(tenant job.Tenant) (s string) {
		require.NoError(t, pg.EnsureTenant(t.Context(), pool, tenant))
		require.NoError(t, pool.QueryRow(t.Context(), "select callback_secret from tenants where id = $1", tenant).Scan(&s))
		return s
	}
	first := secret("a")
	require.Equal(t, first, secret("a"))
	require.NotEqual(t, first, secret("b"))
	require.Error(t, pg.EnsureTenant(t.Context(), pool, "Not A Tenant"))
}
