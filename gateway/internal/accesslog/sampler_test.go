package accesslog

import (
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestPlainRequestsAreLeftOutOfTheAccessLogAndSlowOnesAreNot(t *testing.T) {
	t.Parallel()
	s := newSampler(&Config{Rate: 3, Failures: 3, Slow: time.Second})
	now := time.Unix(1000, 0)
	logged := func(status int, took time.Duration, at time.Time) bool {
		_, pass := s.pass(status, took, at)
		return pass
	}
	for n := range 10 {
		require.Equal(t, n < 3, logged(http.StatusOK, time.Millisecond, now), n)
	}
	left, pass := s.pass(http.StatusNotFound, time.Millisecond, now)
	require.True(t, pass, "a failure has its line")
	require.Equal(t, uint64(7), left, "and says how many had none")
	require.True(t, logged(http.StatusOK, time.Second, now), "a slow one, too")
	require.False(t, logged(http.StatusNotModified, 0, now))
	left, pass = s.pass(http.StatusOK, 0, now.Add(time.Second))
	require.True(t, pass, "a new second")
	require.Equal(t, uint64(1), left)

	all := newSampler(&Config{Slow: time.Second})
	for range 10_000 {
		_, pass := all.pass(http.StatusOK, 0, now)
		require.True(t, pass)
		_, pass = all.pass(http.StatusUnauthorized, 0, now)
		require.True(t, pass)
	}
}

func TestAFloodOfFailuresIsLeftOutOfTheAccessLogToo(t *testing.T) {
	t.Parallel()
	s := newSampler(&Config{Rate: 1, Failures: 3, Slow: time.Second})
	now := time.Unix(1000, 0)
	for n := range 10 {
		_, pass := s.pass(http.StatusUnauthorized, time.Minute, now)
		require.Equal(t, n < 3, pass, "slow ones, too: %d", n)
	}
	left, pass := s.pass(http.StatusOK, 0, now)
	require.True(t, pass, "what succeeds has lines of its own")
	require.Equal(t, uint64(7), left)
	for n := range 10 {
		_, pass := s.pass(http.StatusServiceUnavailable, 0, now)
		require.Equal(t, n < 3, pass, "what fails here is not hidden by what clients do wrong: %d", n)
	}
	left, pass = s.pass(http.StatusUnauthorized, 0, now.Add(time.Second))
	require.True(t, pass, "a new second")
	require.Equal(t, uint64(7), left)
}
