package openaispeech

import (
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/platform/config"
)

func TestRetryAfter(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	for value, want := range map[string]time.Duration{
		"":                              0,
		"0":                             0,
		"-5":                            0,
		"120":                           2 * time.Minute,
		"99999999":                      time.Hour,
		"9999999999999999999999":        0,
		"soon":                          0,
		"Sun, 22 Nov 2026 12:00:30 GMT": 30 * time.Second,
		"Sun, 22 Nov 2026 11:00:30 GMT": 0,
		"Sun, 22 Nov 2028 11:00:30 GMT": time.Hour,
	} {
		require.Equalf(t, want, retryAfter(value, now), "of %q", value)
	}
}

func TestErrorTextIsFoundInEveryShape(t *testing.T) {
	t.Parallel()
	for body, want := range map[string]string{
		`{"error":{"message":"too long","type":"BadRequestError","param":null,"code":400}}`: "too long",
		`{"error":"too long"}`:              "too long",
		`{"detail":"too long"}`:             "too long",
		`{"detail":{"message":"too long"}}`: "too long",
		`{"message":"too long"}`:            "too long",
		`{"error":null}`:                    `{"error":null}`,
		`[1]`:                               `[1]`,
		"Internal Server Error":             "Internal Server Error",
		"":                                  "",
	} {
		require.Equalf(t, want, errorText([]byte(body)), "of %s", body)
	}
}

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
		got := c.clean(errorText(body))
		if strings.Contains(got, testKey) || !utf8.ValidString(got) || utf8.RuneCountInString(got) > maxErrorText {
			t.Fatalf("%q", got)
		}
	})
}
