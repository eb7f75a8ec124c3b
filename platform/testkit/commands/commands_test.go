package commands_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/platform/testkit/commands"
)

func TestWhatIsUpToDateIsNotLinkedAgain(t *testing.T) {
	t.Parallel()
	first, second := t.TempDir(), filepath.Join(t.TempDir(), "made")
	for _, dir := range []string{first, second} {
		require.NoError(t, commands.Build(t.Context(), dir, commands.Neural))
	}
	a, err := os.Stat(filepath.Join(first, "voicemill-neural"))
	require.NoError(t, err)
	b, err := os.Stat(filepath.Join(second, "voicemill-neural"))
	require.NoError(t, err)
	require.Equal(t, a.ModTime(), b.ModTime())
}

func TestACommandThatDoesNotBuildIsNamed(t *testing.T) {
	t.Parallel()
	_, err := commands.Kept(t.Context(), "github.com/voicemill/voicemill/worker/cmd/none")
	require.ErrorContains(t, err, "worker/cmd/none")
}
