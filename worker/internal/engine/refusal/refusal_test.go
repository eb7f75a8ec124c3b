package refusal_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/worker/internal/engine/refusal"
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
		require.Equalf(t, want, refusal.After(value, now), "of %q", value)
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
		require.Equalf(t, want, refusal.Message([]byte(body)), "of %s", body)
	}
}
