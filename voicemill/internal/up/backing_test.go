package up

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestEveryAddressIsReachedByTheLoopbackOne(t *testing.T) {
	t.Parallel()
	for endpoint, want := range map[string]string{
		"127.0.0.1:7862": "127.0.0.1:7862", "10.0.0.7:7862": "10.0.0.7:7862", "[::]:7862": "127.0.0.1:7862", "0.0.0.0:7862": "127.0.0.1:7862",
	} {
		cfg := DefaultConfig()
		cfg.PublicEndpoint = "https://files.example:8443"
		got := bucketConfig(cfg, endpoint)
		require.Equal(t, want, got.Endpoint)
		require.Equal(t, "https://files.example:8443", got.PublicEndpoint)
		cfg.PublicEndpoint, cfg.Gateway.TLS.Cert = "", []string{"cert.pem"}
		require.Equal(t, "https://"+want, bucketConfig(cfg, endpoint).PublicEndpoint)
	}
}
