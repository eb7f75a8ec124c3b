package prepare_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/platform/weights/prepare"
)

func folder(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600))
	}
	return dir
}

func read(t *testing.T, dir, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, name))
	require.NoError(t, err)
	return string(b)
}

func TestPiper(t *testing.T) {
	t.Parallel()
	dir := folder(t, map[string]string{
		"model.onnx": "\x08\x08", "config.json": `{"audio":{"sample_rate":16000},"espeak":{"voice":"de"},"num_speakers":2,"phoneme_id_map":{" ":[3],"_":[0],"ʃ":[96],"x":[]}}`,
	})
	require.NoError(t, prepare.Piper(dir))
	require.Equal(t, "_ 0\n  3\nʃ 96\n", read(t, dir, "tokens.txt"))
	model := read(t, dir, "model.onnx")
	require.Contains(t, model, "\x08\x08\x72\x12\x0a\x0amodel_type\x12\x04vits", "a message of a key and a value in field 14")
	require.Contains(t, model, "\x0a\x0an_speakers\x12\x012")
	require.Contains(t, model, "\x0a\x0bsample_rate\x12\x0516000")
}

func TestKokoro(t *testing.T) {
	t.Parallel()
	files := map[string]string{"model.onnx": "M", "config.json": `{"vocab":{"a":43,";":1}}`, "voices.bin": string(make([]byte, 2*510*256*4))}
	dir := folder(t, files)
	require.NoError(t, prepare.Kokoro(dir, []string{"ann", "bob"}))
	require.Equal(t, "; 1\na 43\n", read(t, dir, "tokens.txt"))
	require.Contains(t, read(t, dir, "model.onnx"), "speaker_names\x12\x07ann,bob")
	require.ErrorContains(t, prepare.Kokoro(folder(t, files), []string{"ann"}), "want 522240 for 1 speakers")
}

func TestAConfigThatSaysNothingIsRefused(t *testing.T) {
	t.Parallel()
	for name, config := range map[string]string{
		"no JSON": "x", "no rate": `{"phoneme_id_map":{"a":[1]}}`, "no symbols": `{"audio":{"sample_rate":22050}}`, "a symbol of two lines": `{"audio":{"sample_rate":22050},"phoneme_id_map":{"a\nb":[1]}}`,
	} {
		require.Error(t, prepare.Piper(folder(t, map[string]string{"model.onnx": "M", "config.json": config})), name)
	}
	require.Error(t, prepare.Piper(t.TempDir()))
}
