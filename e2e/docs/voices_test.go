package docs_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/platform/weights"
)

// Every model that speaks has been heard for the table of voices.
func TestEveryModelOfVoicesIsInTheirTable(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile(filepath.Join(top, "docs/voices.md"))
	require.NoError(t, err)
	all, err := weights.OpenCatalogue("")
	require.NoError(t, err)
	for _, m := range all {
		if m.Kind == weights.KindVoice {
			require.Regexp(t, "(?m)^\\| `[a-zA-Z_]+` \\| "+m.Name+" .*"+m.Licence[:4], string(page), "run make voices-table")
		}
	}
}
