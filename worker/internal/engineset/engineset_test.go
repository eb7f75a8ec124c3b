package engineset_test

import (
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/platform/wav"
	"github.com/voicemill/voicemill/worker/internal/engineset"
)

func TestReadPools(t *testing.T) {
	t.Parallel()
	pools, err := engineset.Read(strings.NewReader(`{"pools": [
		{"name": "espeak", "engine": "espeak", "espeak": {"helpers": 2}},
		{"name": "gpu", "engine": "openai-speech", "sample_rate": 24000, "openai": {
			"backends": ["http://127.0.0.1:8091", "http://127.0.0.1:8092"], "dialect": "vllm-omni", "api_key": "secret",
			"voices": {"aria": {"name": "aria", "language": "en"}}}}]}`))
	require.NoError(t, err)
	require.Len(t, pools, 2)
	require.Equal(t, "secret", pools[1].OpenAI.APIKey.Reveal())
	require.NoError(t, pools[0].Check().Validate())
	require.NoError(t, pools[1].Check().Validate())
	drivers, err := engineset.Open(t.Context(), pools[1], nil, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	require.Len(t, drivers, 2, "one for each address")
	require.Equal(t, "aria", drivers[0].Info().Voices[0].Name)
	require.Equal(t, "127.0.0.1:8092", drivers[1].Info().Address)
	for _, d := range drivers {
		require.NoError(t, d.Close())
	}
}

func TestATritonPoolHasADriverForEachServer(t *testing.T) {
	t.Parallel()
	recording := filepath.Join(t.TempDir(), "aria.wav")
	require.NoError(t, os.WriteFile(recording, wav.Encode(16000, make([]int16, 32000)), 0o600))
	pools, err := engineset.Read(strings.NewReader(`{"pools": [{"name": "gpu", "engine": "triton", "batch": 4, "triton": {
		"backends": ["gpu-1:8001", "grpcs://gpu-2:443"], "window": 6, "max_tokens": 1500, "default": "aria",
		"voices": {"aria": {"language": "en", "ref_audio": "` + recording + `", "ref_text": "What she says."}}}}]}`))
	require.NoError(t, err)
	drivers, err := engineset.Open(t.Context(), pools[0], nil, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	require.Len(t, drivers, 2)
	info := drivers[1].Info()
	require.Equal(t, "gpu-2:443", info.Address)
	require.Equal(t, "triton cosyvoice3", info.Model)
	require.Equal(t, 6, info.Window)
	require.Equal(t, 4, info.MaxBatch)
	for _, d := range drivers {
		require.NoError(t, d.Close())
	}
}

func TestReadPoolsNamesTheFault(t *testing.T) {
	t.Parallel()
	for fault, text := range map[string]string{
		"unknown field":       `{"pools": [{"name": "a", "engine": "espeak", "batches": 3}]}`,
		"no pools":            `{"pools": []}`,
		"follows the closing": `{"pools": [{"name": "a", "engine": "espeak"}]} {}`,
		"is called":           `{"pools": [{"name": "A b", "engine": "espeak"}]}`,
		"is there twice":      `{"pools": [{"name": "a", "engine": "espeak"}, {"name": "a", "engine": "espeak"}]}`,
		`engine is "tts"`:     `{"pools": [{"name": "a", "engine": "tts"}]}`,
		"negative":            `{"pools": [{"name": "a", "engine": "espeak", "calls": -1}]}`,
		"unexpected EOF":      `{"pools": [`,
		"its own helpers":     `{"pools": [{"name": "a", "engine": "espeak", "command": {"argv": ["x", "{port}"]}}]}`,
		"want one of them":    `{"pools": [{"name": "a", "engine": "triton", "command": {"argv": ["x", "{port}"]}, "triton": {"backends": ["b:1"], "voices": {}}}]}`,
		"is to listen":        `{"pools": [{"name": "a", "engine": "triton", "command": {"argv": ["x"]}}]}`,
		"-3 is not a number":  `{"pools": [{"name": "a", "engine": "triton", "command": {"argv": ["x", "{port}"], "idle_seconds": -3}}]}`,
	} {
		_, err := engineset.Read(strings.NewReader(text))
		require.ErrorContains(t, err, fault)
	}
}

func TestAPoolThatCannotStartIsNamed(t *testing.T) {
	t.Parallel()
	log := slog.New(slog.DiscardHandler)
	for name, p := range map[string]engineset.Pool{
		"no helper":   {Name: "quiet", Engine: engineset.Espeak, Espeak: engineset.EspeakConfig{Helper: "/nonexistent/helper"}},
		"no backends": {Name: "quiet", Engine: engineset.OpenAISpeech},
		"no servers":  {Name: "quiet", Engine: engineset.Triton},
		"no driver":   {Name: "quiet", Engine: "tts"},
	} {
		_, err := engineset.Open(t.Context(), p, nil, log)
		require.ErrorContains(t, err, "quiet", name)
	}
}
