package pg_test

import (
	"os"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/platform/pg"
	"github.com/voicemill/voicemill/platform/testkit"
)

func load(text string) (pg.Queries, error) {
	return pg.LoadQueries(fstest.MapFS{"sql/q.sql": &fstest.MapFile{Data: []byte(text)}}, "sql")
}

func TestQueriesAreFoundByName(t *testing.T) {
	t.Parallel()
	q, err := pg.LoadQueries(os.DirFS("testdata"), "good")
	require.NoError(t, err)
	require.Equal(t, []string{"One", "TwoLines"}, q.Names())
	require.Equal(t, "-- It has a comment.\nselect 1", q.Get("One"))
	require.PanicsWithValue(t, "bug: no query is called Three", func() { q.Get("Three") })
	require.NoError(t, q.Check(t.Context(), testkit.Postgres(t)))
}

func TestQueryFilesThatCannotBeMeantAreRefused(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ text, want string }{
		"a name twice":            {"-- name: A\nselect 1;\n-- name: A\nselect 2;", "twice"},
		"a name without query":    {"-- name: A\n-- name: B\nselect 1;", "A is empty"},
		"a query before names":    {"select 1;\n-- name: A\nselect 1;", "before the first"},
		"a name with a space":     {"-- name: A B\nselect 1;", `"A B" is not a query name`},
		"no name after the colon": {"-- name:\nselect 1;", "not a query name"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := load(c.text)
			require.ErrorContains(t, err, c.want)
		})
	}
	_, err := pg.LoadQueries(fstest.MapFS{}, "sql")
	require.ErrorContains(t, err, "no .sql files")
}

func TestCheckNamesEveryQueryThatDoesNotFitTheSchema(t *testing.T) {
	t.Parallel()
	q, err := load("-- name: Good\nselect 1\n-- name: NoTable\nselect * from nowhere\n-- name: NoColumn\nselect nothing from tenants")
	require.NoError(t, err)
	err = q.Check(t.Context(), testkit.Postgres(t))
	require.ErrorContains(t, err, "query NoTable")
	require.ErrorContains(t, err, "query NoColumn")
	require.NotContains(t, err.Error(), "Good")
}

func FuzzLoadQueries(f *testing.F) {
	f.Add("-- name: A\nselect 1;\n")
	f.Add("-- c\n\n--name: A\nselect 1")
	f.Add("-- name: A\r\nselect 1;\r\n-- name: B\r\n")
	f.Fuzz(func(t *testing.T, text string) {
		q, err := load(text)
		if err != nil {
			return
		}
		for _, name := range q.Names() {
			if got := q.Get(name); strings.TrimSpace(got) == "" || name == "" {
				t.Errorf("query %q is %q", name, got)
			}
		}
	})
}
