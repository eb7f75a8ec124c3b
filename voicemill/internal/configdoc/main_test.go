package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/gateway"
	"github.com/voicemill/voicemill/platform/config"
)

func TestThePageIsWhatTheStructsSay(t *testing.T) {
	t.Parallel()
	want, err := page(commands())
	require.NoError(t, err)
	got, err := os.ReadFile("../../../docs/configuration.md")
	require.NoError(t, err)
	require.Equal(t, want, string(got), "make generate writes it")
}

func TestThePageNamesEverySettingAndItsVariable(t *testing.T) {
	t.Parallel()
	text, err := page(commands())
	require.NoError(t, err)
	for _, c := range commands() {
		settings, err := config.Describe(c.cfg)
		require.NoError(t, err)
		require.NotEmpty(t, settings)
		for _, s := range settings {
			require.Contains(t, text, "\n| `--"+s.Name+"` | `"+s.Env+"` | ", c.name)
			require.NotEmpty(t, s.Help, "%s --%s", c.name, s.Name)
		}
	}
	for _, name := range config.NotSettings() {
		require.Contains(t, intro, "`"+name+"`")
	}
}

func TestTheFileOfThePageCanBeRead(t *testing.T) {
	t.Parallel()
	_, rest, _ := strings.Cut(intro, "```yaml\n")
	content, _, found := strings.Cut(rest, "```")
	require.True(t, found)
	path := filepath.Join(t.TempDir(), "voicemill.yaml")
	require.NoError(t, os.WriteFile(path, []byte(content), 0o600))
	var s struct {
		Gateway gateway.Config `embed:""`
	}
	_, err := config.Parse(&s, config.Source{Name: "gateway", Args: []string{"--config=" + path}})
	require.NoError(t, err)
	require.Equal(t, 50000, s.Gateway.MaxConns)
	require.Equal(t, gateway.Words{"server.pem"}, s.Gateway.TLS.Cert)
	require.Len(t, s.Gateway.CallbackAllowPrefixes, 1)
}
