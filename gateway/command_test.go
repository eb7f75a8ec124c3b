package gateway_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/gateway"
	"github.com/voicemill/voicemill/platform/config"
)

// The defaults are written twice, in tags for the command line and in Go.
func TestTheTagsNameTheDefaults(t *testing.T) {
	t.Parallel()
	var s gateway.Settings
	_, err := config.Parse(&s, config.Source{Name: "gateway", Args: []string{
		"--db-dsn=x", "--blob-endpoint=x", "--blob-access-key=x", "--blob-secret-key=x",
	}})
	require.NoError(t, err)
	require.Equal(t, gateway.DefaultConfig(), s.Gateway)
}
