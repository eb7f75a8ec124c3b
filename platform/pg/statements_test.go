package pg_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/platform/pg"
	"github.com/voicemill/voicemill/platform/testkit"
)

// Whatever statement a package keeps in a file, Postgres can prepare it against
// the schema, and somebody uses it.
func TestEveryStatementFitsTheSchemaAndIsUsed(t *testing.T) {
	t.Parallel()
	pool := testkit.Postgres(t)
	const root = "../.."
	folders := map[string]bool{}
	require.NoError(t, filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (d.Name() == "testdata" || d.Name() == "migrations" || strings.HasPrefix(d.Name(), ".") && path != root):
			return filepath.SkipDir
		case filepath.Ext(path) == ".sql":
			folders[filepath.Dir(path)] = true
		}
		return nil
	}))
	named := 0
	for dir := range folders {
		queries, err := pg.LoadQueries(os.DirFS(dir), ".")
		if err != nil { // one statement without a name
			single(t, pool, dir)
			continue
		}
		require.NoError(t, queries.Check(t.Context(), pool), dir)
		source := sources(t, filepath.Dir(dir))
		for _, name := range queries.Names() {
			named++
			require.Contains(t, source, `"`+name+`"`, "%s of %s is used by nobody", name, dir)
		}
	}
	require.Greater(t, named, 100, "the statements of three services")
}

// single prepares files of one statement each.
func single(t *testing.T, pool *pg.Pool, dir string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.sql"))
	require.NoError(t, err)
	conn, err := pool.Acquire(t.Context())
	require.NoError(t, err)
	defer conn.Release()
	for _, file := range files {
		raw, err := os.ReadFile(file)
		require.NoError(t, err)
		_, err = conn.Conn().Prepare(t.Context(), "", string(raw))
		require.NoError(t, err, file)
	}
}

// sources returns the code of a package, without its tests.
func sources(t *testing.T, dir string) string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.go"))
	require.NoError(t, err)
	var all strings.Builder
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		raw, err := os.ReadFile(file)
		require.NoError(t, err)
		all.Write(raw)
	}
	return all.String()
}
