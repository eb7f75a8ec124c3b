package single_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/e2e/internal/caller"
	"github.com/voicemill/voicemill/e2e/internal/stage"
	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/platform/testkit/weightstest"
	"github.com/voicemill/voicemill/platform/weights"
)

// The commands of docs/voices.md run as they stand, with another voice's files as the
// reader's own, and the voice speaks.
func TestAVoiceOfOnesOwn(t *testing.T) {
	page, err := os.ReadFile("../../docs/voices.md")
	require.NoError(t, err)
	tried := regexp.MustCompile("(?ms)^```sh\n# tried\n(.*?)^```").FindSubmatch(page)
	require.NotNil(t, tried)
	from, dir := weightstest.Need(t, "joe"), stage.Dir(t)
	models := filepath.Join(dir, "models")
	require.NoError(t, os.Mkdir(models, 0o755)) //nolint:gosec // as its users have it
	require.NoError(t, os.Symlink(filepath.Join(from.Dir(), weights.Library), filepath.Join(models, weights.Library)))
	joe, err := from.Get("joe")
	require.NoError(t, err)
	require.NoError(t, os.Symlink(joe.Path("model.onnx"), filepath.Join(dir, "anna.onnx")))
	require.NoError(t, os.Symlink(joe.Path("config.json"), filepath.Join(dir, "anna.onnx.json")))
	script := exec.CommandContext(t.Context(), "bash", "-euo", "pipefail", "-c", string(tried[1])) //nolint:gosec // the page's
	script.Dir, script.Env = dir, append(os.Environ(), "PATH="+bin+":"+os.Getenv("PATH"), "VOICEMILL_MODELS_DIR="+models)
	said, err := script.CombinedOutput()
	require.NoError(t, err, "%s", said)
	require.Contains(t, string(said), "anna is whole")

	s := stage.NewSolo(t, bin, stage.SoloConfig{Env: []string{"VOICEMILL_MODELS_DIR=" + models}})
	code, out, told, err := s.Command(t.Context(), "voices")
	require.NoError(t, err)
	require.Zero(t, code, told)
	require.Regexp(t, `(?m)^anna +en .*for our books only +Anna Example`, out)
	c := caller.New(t, s)
	doc, err := c.Submit(t.Context(), "", map[string]any{"input": map[string]any{"text": "This is my own voice.", "media_type": job.MediaText}, "voice": "anna"})
	require.NoError(t, err)
	doc, err = c.Await(t.Context(), string(doc.ID))
	require.NoError(t, err)
	requireSucceeded(t, doc)
	require.Greater(t, doc.Progress.AudioSeconds, 0.5)
}
