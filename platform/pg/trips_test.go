package pg_test

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/platform/pg"
	"github.com/voicemill/voicemill/platform/telemetry"
	"github.com/voicemill/voicemill/platform/testkit"
)

func TestEveryWaitForTheServerIsCounted(t *testing.T) {
	t.Parallel()
	db := testkit.Postgres(t)
	reg := telemetry.NewRegistry()
	pg.Observe(reg, db)
	trips := func() (n int) {
		var out bytes.Buffer
		require.NoError(t, reg.Write(&out))
		_, rest, _ := bytes.Cut(out.Bytes(), []byte("\nvoicemill_database_round_trips_total "))
		_, err := fmt.Sscan(string(rest), &n)
		require.NoError(t, err)
		return n
	}
	ask := func() {
		var one int
		require.NoError(t, db.QueryRow(t.Context(), "select 1").Scan(&one))
	}
	ask() // prepares it
	before := trips()
	ask()
	require.Equal(t, before+1, trips())
	require.NoError(t, pg.Tx(t.Context(), db, func(tx pgx.Tx) error {
		_, err := tx.Exec(t.Context(), "select 1")
		return err
	}))
	require.Equal(t, before+4, trips(), "begin, the statement, commit")
	var b pgx.Batch
	b.Queue("select 1")
	b.Queue("select 1")
	require.NoError(t, db.SendBatch(t.Context(), &b).Close())
	require.Equal(t, before+5, trips(), "two statements in one")
}
