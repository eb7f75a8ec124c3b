package hear_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/worker/internal/hear"
)

func TestWhatIsMissingForAnEarIsNamed(t *testing.T) {
	t.Parallel()
	dir, models := t.TempDir(), t.TempDir()
	missing := func(sentence string) {
		t.Helper()
		_, err := hear.Find(dir, models, hear.DefaultModel)
		require.Equal(t, job.NotFound, job.KindOf(err), "%v", err)
		require.Equal(t, sentence, job.PublicOf(err, ""))
	}
	missing("The ear's model whisper-base is not installed: voicemill models install whisper-base")
	write(t, filepath.Join(models, "whisper-base", "model.json"), `{"name": "whisper-base", "kind": "ear", "version": "1", "title": "t", "licence": "MIT", "attribution": "a",
		"files": [{"path": "model.bin", "bytes": 1, "sha256": "d01c3014881c9c6f3133c182f3d2887eb6ca1c789a7538c5c007196857a0a6a9", "parts": ["file:model.bin"]}]}`)
	missing("The ear's server in " + dir + " is not installed: deployments/engines/ear/install " + dir)
	write(t, filepath.Join(dir, "bin", "python"), "")
	write(t, filepath.Join(dir, "serve.py"), "")
	missing("The ear's server in " + dir + " is not installed: deployments/engines/ear/install " + dir)
	write(t, filepath.Join(dir, "requirements.txt"), "")
	in, err := hear.Find(dir, models, hear.DefaultModel)
	require.NoError(t, err)
	require.Equal(t, hear.Installation{
		Python: filepath.Join(dir, "bin", "python"), Server: filepath.Join(dir, "serve.py"), Model: filepath.Join(models, "whisper-base"),
	}, in)
}

func write(t *testing.T, path, text string) {
	t.Helper()
	require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755)) //nolint:gosec // a test's folder
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
}
