package callback

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func TestWaitsFollowTheSchedule(t *testing.T) {
	t.Parallel()
	const middle = 0.5 // no jitter
	var got []time.Duration
	for n := 1; ; n++ {
		d, again := wait(schedule(), n, 0, middle)
		if !again {
			break
		}
		got = append(got, d)
	}
	require.Equal(t, schedule(), got)
	require.Len(t, got, 9, "ten attempts in all")
}

func TestJitterSpreadsAndRetryAfterOnlyLengthens(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, len(schedule())).Draw(t, "n")
		asked := time.Duration(rapid.Int64Range(0, int64(100*time.Hour)).Draw(t, "asked"))
		random := rapid.Float64Range(0, 0.999999).Draw(t, "random")
		base := schedule()[n-1]
		got, again := wait(schedule(), n, asked, random)
		least := time.Duration(float64(base) * (1 - jitter))
		most := max(time.Duration(float64(base)*(1+jitter)), min(asked, maxRetryAfter))
		if !again || got < least-time.Microsecond || got > most+time.Microsecond || got < min(asked, maxRetryAfter) {
			t.Fatalf("wait(%d, asked %s) = %s, %t; want from %s to %s", n, asked, got, again, least, most)
		}
	})
}

func TestRetryAfterIsSecondsOrADate(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	for header, want := range map[string]time.Duration{
		"":                               0,
		"0":                              0,
		" 120 ":                          2 * time.Minute,
		"-5":                             0,
		"1.5":                            0,
		"soon":                           0,
		"99999999999999999999":           0,
		"Sun, 22 Nov 2026 12:01:00 GMT":  time.Minute,
		"Sun, 22 Nov 2026 11:00:00 GMT":  0,
		"Sunday, 22-Nov-26 12:00:30 GMT": 30 * time.Second,
	} {
		require.Equal(t, want, parseRetryAfter(header, now), "%q", header)
	}
}

func FuzzParseRetryAfter(f *testing.F) {
	for _, s := range []string{"", "120", "Sun, 22 Nov 2026 12:01:00 GMT", "-1", "1e9", "\x00"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, header string) {
		if got := parseRetryAfter(header, time.Now()); got < 0 {
			t.Errorf("parseRetryAfter(%q) = %s", header, got)
		}
	})
}
