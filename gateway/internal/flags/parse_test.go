package flags_test

import (
	"bytes"
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/gateway"
	"github.com/voicemill/voicemill/gateway/internal/flags"
	"github.com/voicemill/voicemill/platform/config"
)

type inner struct {
	DSN      config.Secret `help:"A secret."`
	MaxConns int32         `default:"12" help:"Connections."`
}

type settings struct {
	Gateway gateway.Config `embed:""`
	DB      inner          `embed:"" prefix:"db-"`
}

func parse(env map[string]string, args ...string) (settings, string, error) {
	var s settings
	var out bytes.Buffer
	err := flags.Parse(&s, flags.Source{Name: "gateway", Args: args, Stdout: &out, Env: func(name string) (string, bool) {
		v, ok := env[name]
		return v, ok
	}})
	return s, out.String(), err
}

func TestTheTagsSayTheSameAsDefaultConfig(t *testing.T) {
	t.Parallel()
	s, _, err := parse(nil)
	require.NoError(t, err)
	require.Equal(t, gateway.DefaultConfig(), s.Gateway)
	require.NoError(t, s.Gateway.Validate())
}

func TestFlagWinsOverEnvironmentWinsOverDefault(t *testing.T) {
	t.Parallel()
	s, _, err := parse(map[string]string{
		"VOICEMILL_LISTEN": "127.0.0.1:1", "VOICEMILL_DB_DSN": "hidden", "VOICEMILL_DB_MAX_CONNS": "20", "VOICEMILL_CALLBACK_ALLOW": "10.0.0.0/8, fd00::/8",
		"VOICEMILL_TLS_CERT": "one.pem, two.pem",
	}, "--tls-key=one.key,two.key", "--listen=127.0.0.1:2", "--no-access-log", "--callback-private", "--grace", "7s")
	require.NoError(t, err)
	require.Equal(t, "127.0.0.1:2", s.Gateway.Listen)
	require.Equal(t, "hidden", s.DB.DSN.Reveal())
	require.Equal(t, int32(20), s.DB.MaxConns)
	require.Equal(t, 7*time.Second, s.Gateway.Grace)
	require.Equal(t, gateway.Words{"one.pem", "two.pem"}, s.Gateway.TLS.Cert)
	require.Equal(t, gateway.Words{"one.key", "two.key"}, s.Gateway.TLS.Key)
	require.False(t, s.Gateway.AccessLog)
	require.True(t, s.Gateway.CallbackPrivate)
	require.Equal(t, []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd00::/8")}, s.Gateway.CallbackAllow)
}

func TestBadSettingsAreNamed(t *testing.T) {
	t.Parallel()
	for want, args := range map[string][]string{
		"-unknown": {"--unknown=1"}, "db-max-conns": {"--db-max-conns=many"}, "grace": {"--grace=soon"}, `"serve"`: {"serve"},
		"callback-allow": {"--callback-allow=10.0.0.1"},
	} {
		_, _, err := parse(nil, args...)
		require.ErrorContains(t, err, want)
	}
	_, _, err := parse(map[string]string{"VOICEMILL_MAX_CONNS": "x"})
	require.ErrorContains(t, err, "VOICEMILL_MAX_CONNS")
}

func TestHelpNamesEveryFlagAndIsNotAFailure(t *testing.T) {
	t.Parallel()
	_, out, err := parse(nil, "--help")
	require.ErrorIs(t, err, flags.ErrHelp)
	require.Contains(t, out, "--db-max-conns=12\n        Connections. ($VOICEMILL_DB_MAX_CONNS)")
	require.Contains(t, out, "--callback-allow=CIDR")
}
