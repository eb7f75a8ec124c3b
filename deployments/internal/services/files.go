package services

import (
	"os"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/platform/testkit"
	"github.com/voicemill/voicemill/platform/wav"
)

var audioFile = regexp.MustCompile(`"/[^"]+\.wav"`)

// Files puts files of the test's own in place of those that an environment
// names and that an operator writes: a certificate with its key, and the pools,
// which are those of example with five seconds of sound for each voice.
func Files(tb testing.TB, env map[string]string, example string) {
	tb.Helper()
	dir := tb.TempDir()
	if env["VOICEMILL_TLS_CERT"] != "" {
		_, env["VOICEMILL_TLS_CERT"], env["VOICEMILL_TLS_KEY"] = testkit.Certificate(tb, dir, "server", nil)
	}
	if env["VOICEMILL_POOLS_FILE"] == "" {
		return
	}
	voice, pools := filepath.Join(dir, "voice.wav"), filepath.Join(dir, "pools.json")
	require.NoError(tb, os.WriteFile(voice, wav.Encode(24000, make([]int16, 5*24000)), 0o600))
	text, err := os.ReadFile(example)
	require.NoError(tb, err)
	text = audioFile.ReplaceAllLiteral(text, []byte(`"`+voice+`"`))
	require.NoError(tb, os.WriteFile(pools, text, 0o600))
	env["VOICEMILL_POOLS_FILE"] = pools
}
