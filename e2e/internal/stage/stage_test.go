package stage

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestAPortIsOneStagesUntilItsEnd(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir()) // its locks are not those of other tests
	first, err := lockPort(lowPort)
	require.NoError(t, err)
	_, err = lockPort(lowPort)
	require.Error(t, err)
	other, err := lockPort(lowPort + 1)
	require.NoError(t, err)
	require.NoError(t, other.Close())
	require.NoError(t, first.Close())
	again, err := lockPort(lowPort)
	require.NoError(t, err)
	require.NoError(t, again.Close())
}
