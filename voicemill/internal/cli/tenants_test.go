package cli_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/platform/testkit"
)

func TestInitAndTenantsMayBeRepeated(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	dsn := testkit.PostgresDSN(t)
	run := func(args ...string) result {
		t.Helper()
		return runWith(t.Context(), nil, "", append(args, "--db-dsn", dsn)...)
	}
	first, book := filepath.Join(dir, "first-key"), filepath.Join(dir, "books-key")

	made := run("init", "--first-key", first)
	require.Zero(t, made.code, made.errOut)
	require.Equal(t, first+"\n", made.out)
	raw, err := os.ReadFile(first)
	require.NoError(t, err)
	key := strings.TrimSpace(string(raw))
	require.NotContains(t, made.out+made.errOut, key)

	again := run("init", "--first-key", first)
	require.Zero(t, again.code, again.errOut)
	require.Contains(t, again.errOut, "already")
	require.Equal(t, key+"\n", run("init", "--first-key", first, "--print-key").out, "if it is asked for")
	elsewhere := run("init", "--first-key", filepath.Join(dir, "another"))
	require.Zero(t, elsewhere.code, elsewhere.errOut)
	require.Empty(t, elsewhere.out)
	require.NoFileExists(t, filepath.Join(dir, "another"))

	made = run("tenants", "create", "books", "--first-key", book, "--json")
	require.Zero(t, made.code, made.errOut)
	require.JSONEq(t, `{"tenant": "books", "state": "created", "file": "`+book+`"}`, made.out)
	require.Zero(t, run("tenants", "create", "books", "--first-key", book).code)
	require.Equal(t, 2, run("tenants", "create", "Not A Name").code)
	require.Equal(t, 2, runWith(t.Context(), nil, "", "tenants", "list").code)

	listed := run("tenants", "list", "--json")
	require.Zero(t, listed.code, listed.errOut)
	var names []string
	for line := range strings.Lines(listed.out) {
		var told struct {
			ID     string
			Keys   int
			Admins int
		}
		require.NoError(t, json.Unmarshal([]byte(line), &told))
		require.Equal(t, []int{1, 1}, []int{told.Keys, told.Admins})
		names = append(names, told.ID)
	}
	require.Equal(t, []string{"books", "default"}, names)
}
