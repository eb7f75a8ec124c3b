package helper

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestSuspectsAreForgottenAtTheLimit(t *testing.T) {
	t.Parallel()
	var s suspects
	require.Equal(t, 1, s.blame("first"))
	require.Equal(t, 2, s.blame("first"))
	for i := range maxSuspects {
		s.blame(strings.Repeat("x", i+1))
	}
	require.Len(t, s.order, maxSuspects)
	require.Len(t, s.count, maxSuspects)
	require.Equal(t, 1, s.blame("first"), "it was the oldest")
	s.clear("first")
	require.Equal(t, 1, s.blame("first"))
	s.clear("unknown")
}

func TestBackoffGrowsToItsLimit(t *testing.T) {
	t.Parallel()
	require.Zero(t, backoff(1), "the first failure is the text's")
	last := backoff(2)
	require.Positive(t, last)
	for n := 3; n < 100; n++ {
		next := backoff(n)
		require.GreaterOrEqual(t, next, last)
		last = next
	}
	require.Equal(t, "10s", last.String())
}
