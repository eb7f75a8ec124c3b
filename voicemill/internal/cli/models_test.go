package cli_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// ownModels writes a catalogue of one model, whose file is on this machine, and
// returns the flags that name it and an empty folder of models.
func ownModels(t *testing.T) []string {
	t.Helper()
	dir := t.TempDir()
	own, catalogue := filepath.Join(dir, "own.bin"), filepath.Join(dir, "catalogue.json")
	require.NoError(t, os.WriteFile(own, []byte("own"), 0o600))
	require.NoError(t, os.WriteFile(catalogue, []byte(`{"models": [{"name": "own", "kind": "library", "version": "1", "title": "Mine",
		"licence": "MIT", "attribution": "me", "files": [{"path": "own.bin", "bytes": 3,
		"sha256": "5b3975651c3cab92d044c096dc30a1c2d9525497457472de48c51ecb363d1f4a", "parts": ["file:`+own+`"]}]}]}`), 0o600))
	return []string{"--catalogue", catalogue, "--models-dir", filepath.Join(dir, "models")}
}

func TestModelsAreListedInstalledVerifiedAndRemoved(t *testing.T) {
	t.Parallel()
	flags := ownModels(t)
	models := func(args ...string) (int, string, string) {
		r := runCommand(t, "", "", append(append([]string{"models"}, args...), flags...)...)
		return r.code, r.out, r.errOut
	}
	code, out, _ := models("list")
	require.Zero(t, code)
	require.Regexp(t, `own +- +0 MB`, out)
	require.Contains(t, out, "kokoro")
	code, out, _ = models("install", "own")
	require.Zero(t, code)
	require.Contains(t, out, "installed own (1)\n  MIT: me\n")
	code, out, _ = models("verify")
	require.Zero(t, code)
	require.Equal(t, "own is whole\n", out)
	require.NoError(t, os.WriteFile(filepath.Join(flags[3], "own", "own.bin"), []byte("owm"), 0o600))
	code, _, told := models("verify", "own")
	require.Equal(t, 1, code)
	require.Contains(t, told, "own.bin is damaged; mend it with: voicemill models install own")
	code, _, _ = models("remove", "own")
	require.Zero(t, code)
	code, _, told = models("verify", "own")
	require.Equal(t, 4, code)
	require.Contains(t, told, "is not installed")
	code, _, told = models("install", "nobody")
	require.Equal(t, 4, code)
	require.Contains(t, told, "voicemill models list")
}
