package openaispeech

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/platform/config"
	"github.com/voicemill/voicemill/worker/internal/engine/refusal"
)

// maxErrorText is what package engine keeps of a message, and its ellipsis.
const maxErrorText = 301

func TestCleanKeepsSecretsAndNoiseOut(t *testing.T) {
	t.Parallel()
	c := Config{APIKey: config.NewSecret(testKey)}
	got := c.clean("bad key " + testKey + "\nin\x00 data:audio/wav;base64,UklGRgAA \xff " + strings.Repeat("x", 200) + strings.Repeat(" word", 200))
	require.NotContains(t, got, testKey)
	require.NotContains(t, got, "UklGR")
	require.NotContains(t, got, "\n")
	require.LessOrEqual(t, utf8.RuneCountInString(got), maxErrorText)
	require.True(t, utf8.ValidString(got))
}

func FuzzErrorText(f *testing.F) {
	f.Add([]byte(`{"error":{"message":"x"}}`))
	f.Add([]byte(`{"detail":[{"loc":["body"],"msg":"field required"}]}`))
	f.Add([]byte("\xff\xfe" + testKey))
	c := Config{APIKey: config.NewSecret(testKey)}
	f.Fuzz(func(t *testing.T, body []byte) {
		got := c.clean(refusal.Message(body))
		if strings.Contains(got, testKey) || !utf8.ValidString(got) || utf8.RuneCountInString(got) > maxErrorText {
			t.Fatalf("%q", got)
		}
	})
}
