package helper

import (
	"testing"

	"github.com/stretchr/testify/require"
)

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
