package carrier

import (
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestOnlyPlainRequestsAreLeftOutOfTheAccessLog(t *testing.T) {
	t.Parallel()
	s := newSampler(3, time.Second)
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

	all := newSampler(0, time.Second)
	for range 10_000 {
		_, pass := all.pass(http.StatusOK, 0, now)
		require.True(t, pass)
	}
}
