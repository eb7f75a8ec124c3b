package gateway_test

import (
	"os"
	"path/filepath"
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
		"--db-dsn=host=x", "--blob-endpoint=x", "--blob-access-key=x", "--blob-secret-key=x",
	}})
	require.NoError(t, err)
	require.Equal(t, gateway.DefaultConfig(), s.Gateway)
}

func TestFilesOfCertificatesAreLookedAtBeforeAnythingStarts(t *testing.T) {
	t.Parallel()
	empty := filepath.Join(t.TempDir(), "empty.pem")
	require.NoError(t, os.WriteFile(empty, nil, 0o600))
	for want, files := range map[string]gateway.TLS{
		"tls-cert and tls-key: ": {Cert: gateway.Words{empty}, Key: gateway.Words{empty}}, "no such file": {Cert: gateway.Words{"gone"}, Key: gateway.Words{"gone"}},
		"empty.pem has no certificate": {ClientCA: empty}, "tls-client-ca: open": {ClientCA: "gone"},
	} {
		require.ErrorContains(t, (&gateway.Settings{Gateway: gateway.Config{TLS: files}}).Validate(), want)
	}
}
