package store_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/platform/pg"
	"github.com/voicemill/voicemill/worker/internal/plantest"
	"github.com/voicemill/voicemill/worker/internal/store"
)

// What a worker asks all the time must not grow with what is stored, and plans
// are kept: neither one that was made while the tables were empty, nor one of
// statistics that were taken while nothing was out, may read a whole table.
func TestNoQueryOfTheHotPathReadsAWholeTable(t *testing.T) {
	t.Parallel()
	_, pool := open(t)
	plantest.Insert(t, pool, plantest.Book{Chapters: []plantest.Chapter{plantest.Sentences("One", "a b", "c d")}})
	_, err := pool.Exec(t.Context(), `vacuum analyze`)
	require.NoError(t, err)
	noTableIsReadWhole(t, pool)
	for _, sql := range []string{
		`analyze outstanding, retries, exceptions`,
		`insert into jobs (id, tenant_id, class, state, spec, on_failure, accepted_at)
			select 'job_' || i, 'default', 'bulk', 'running', '{}', 'fail', now() from generate_series(1, 5000) i`,
		`insert into chapters (job_id, ordinal, state, first_segment, segments_total, plan_digest)
			select id, o, 'pending', 1, 1, '' from jobs cross join generate_series(2, 11) o`,
		`insert into outstanding (job, n, attempt, pool, mask, seconds) select num, 1, 1, 'test', 1, 1 from jobs`,
		`insert into renditions (key, tenant, sample_rate, samples, bytes, sha256)
			select sha256(i::text::bytea), 1, 22050, 1, 1, sha256('') from generate_series(1, 100000) i`,
		`analyze jobs, chapters, renditions`,
	} {
		_, err := pool.Exec(t.Context(), sql)
		require.NoError(t, err, sql)
	}
	noTableIsReadWhole(t, pool)
}

func noTableIsReadWhole(t *testing.T, pool *pg.Pool) {
	t.Helper()
	q, err := store.Queries()
	require.NoError(t, err)
	conn, err := pool.Acquire(t.Context())
	require.NoError(t, err)
	defer conn.Release()
	_, err = conn.Exec(t.Context(), `set plan_cache_mode = force_generic_plan`)
	require.NoError(t, err)
	for name, args := range map[string]string{
		"Claim":            `array[1], array[1], array[1], array[false]`,
		"Return":           `array[1], array[1], array[1]`,
		"Begin":            `array[1], array[1], array[1], array[1], array['\x00'::bytea]`,
		"LockJobs":         `array[1]`,
		"Settle":           `array[1], array[1], array[1], array[1], array[1], array['done'], array['\x00'::bytea], array[1], array[1], array[1], array[''], array[''], array[null::float8]`,
		"AdvanceJobs":      `array[1], array[1]`,
		"JobVersions":      `array[1]`,
		"ChapterSegments":  `1, 1, 128`,
		"ManifestSegments": `1, 1, 128`,
		"FirstFailure":     `1`,
		"BeginDue":         `'assemble', 'job_1', 1, 1, false`,
	} {
		_, err := conn.Exec(t.Context(), fmt.Sprintf(`prepare hot as %s`, q.Get(name)))
		require.NoError(t, err, name)
		rows, err := conn.Query(t.Context(), fmt.Sprintf(`explain execute hot (%s)`, args), pgx.QueryExecModeSimpleProtocol)
		require.NoError(t, err, name)
		lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
		require.NoError(t, err, name)
		for _, line := range lines {
			for _, table := range []string{"renditions", "jobs", "chapters", "outstanding", "blocks"} {
				require.NotContains(t, line, "Seq Scan on "+table, "%s:\n%s", name, strings.Join(lines, "\n"))
			}
		}
		_, err = conn.Exec(t.Context(), `deallocate hot`)
		require.NoError(t, err)
	}
}
