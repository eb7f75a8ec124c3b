package callback

import (
	"net/http"
	"strconv"
	"strings"
	"time"
)

// schedule returns the waits between attempts that the API promises.
func schedule() []time.Duration {
	return []time.Duration{
		5 * time.Second, 5 * time.Minute, 30 * time.Minute, 2 * time.Hour, 5 * time.Hour,
		10 * time.Hour, 14 * time.Hour, 20 * time.Hour, 24 * time.Hour,
	}
}

const (
	// jitter spreads the retries of deliveries that failed together.
	jitter        = 0.1
	maxRetryAfter = 24 * time.Hour
)

// wait returns how long after failed attempt n (from 1) the next one is due,
// and whether there is one. random is in [0, 1). A receiver that asks for more
// time gets it, up to a day; one that asks for less does not shorten the wait.
func wait(waits []time.Duration, n int, retryAfter time.Duration, random float64) (time.Duration, bool) {
	if n > len(waits) {
		return 0, false
	}
	d := waits[n-1]
	d += time.Duration(float64(d) * jitter * (2*random - 1))
	return max(d, min(retryAfter, maxRetryAfter)), true
}

// parseRetryAfter reads the header of RFC 9110, section 10.2.3: seconds or a
// date. What cannot be read is 0.
func parseRetryAfter(header string, now time.Time) time.Duration {
	header = strings.TrimSpace(header)
	if n, err := strconv.ParseUint(header, 10, 31); err == nil {
		return time.Duration(n) * time.Second //nolint:gosec // 31 bits of seconds fit
	}
	at, err := http.ParseTime(header)
	if err != nil {
		return 0
	}
	return max(0, at.Sub(now))
}
