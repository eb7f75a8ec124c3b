package cli_test

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/platform/config"
	"github.com/voicemill/voicemill/platform/pg"
	"github.com/voicemill/voicemill/platform/testkit"
)

func TestCommandsOnWorkMayBeRepeatedAndSayWhatTheyDid(t *testing.T) {
	t.Parallel()
	dsn := testkit.PostgresDSN(t)
	run := func(args ...string) result {
		t.Helper()
		return runWith(t.Context(), nil, "", append(args, "--db-dsn", dsn)...)
	}
	db, err := pg.Connect(t.Context(), pg.Config{DSN: config.NewSecret(dsn)}, testkit.Log(t))
	require.NoError(t, err)
	t.Cleanup(db.Close)
	require.NoError(t, pg.EnsureTenant(t.Context(), db, "books"))
	_, err = db.Exec(t.Context(), `insert into jobs (id, tenant_id, class, state, spec, on_failure, accepted_at) values ('job_1', 'books', 'bulk', 'accepted', '{}', 'fail', now())`)
	require.NoError(t, err)

	done := run("pause", "job_1")
	require.Zero(t, done.code, done.errOut)
	require.Equal(t, "job_1 paused: accepted\n", done.out)
	require.Equal(t, "job_1 is so already: accepted\n", run("pause", "job_1").out)
	require.Equal(t, "job_1 resumed: accepted\n", run("resume", "job_1").out)
	require.Equal(t, "job_1 set: accepted\n", run("set", "job_1", "--class", "interactive", "--priority", "2", "--deadline", "2126-12-01T06:00:00Z").out)
	require.Equal(t, "job_1 set: accepted\n", run("set", "job_1", "--no-deadline").out)

	told := run("set", "job_1", "--priority", "2", "--json")
	require.Zero(t, told.code, told.errOut)
	var doc map[string]any
	require.NoError(t, json.Unmarshal([]byte(told.out), &doc))
	require.Equal(t, map[string]any{"id": "job_1", "state": "accepted", "version": 5.0, "changed": false}, doc)

	for name, args := range map[string][]string{
		"no such job": {"pause", "job_2"}, "nothing spoken yet": {"redo", "job_1", "1"}, "a blank text": {"redo", "job_1", "1", "--text", " "},
	} {
		refused := run(args...)
		require.Equal(t, 4, refused.code, "%s: %s", name, refused.errOut)
	}
	for name, args := range map[string][]string{
		"nothing to set": {"set", "job_1"}, "no such class": {"set", "job_1", "--class", "soon"},
		"contradiction": {"set", "job_1", "--deadline", "2126-12-01T06:00:00Z", "--no-deadline"}, "past": {"set", "job_1", "--deadline", "2001-01-01T00:00:00Z"},
	} {
		require.Equal(t, 2, run(args...).code, name)
	}
	require.Equal(t, 2, runWith(t.Context(), nil, "", "pause", "job_1").code, "whose database?")
}
