package engineset_test

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/worker/internal/engineset"
)

func TestTheDocumentedPoolsCanBeRead(t *testing.T) {
	t.Parallel()
	doc, err := os.ReadFile("../../../docs/engines.md")
	require.NoError(t, err)
	found := regexp.MustCompile("(?s)```json\n(.*?)```").FindSubmatch(doc)
	require.NotNil(t, found, "docs/engines.md has no example of a pools' file")
	pools, err := engineset.Read(strings.NewReader(string(found[1])))
	require.NoError(t, err)
	require.Len(t, pools, 2)
}
