package config_test

import (
	"bytes"
	"io"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/platform/config"
)

type inner struct {
	Conns int `default:"10" help:"Connections."`
}

type settings struct {
	Listen string        `default:"127.0.0.1:7860" help:"Where to listen."`
	Key    config.Secret `help:"A secret."`
	Grace  time.Duration `default:"5s" help:"How long to drain."`
	DB     inner         `embed:"" prefix:"db-"`
}

func parse(args ...string) (settings, error) {
	var s settings
	err := config.Parse(&s, config.Source{Name: "test", Args: args, Stdout: io.Discard, Stderr: io.Discard})
	return s, err
}

func TestFlagWinsOverEnvironmentWinsOverDefault(t *testing.T) {
	t.Setenv("VOICEMILL_DB_CONNS", "20")
	t.Setenv("VOICEMILL_LISTEN", "127.0.0.1:1")
	t.Setenv("VOICEMILL_KEY", "hidden")
	s, err := parse("--listen", "127.0.0.1:2")
	require.NoError(t, err)
	require.Equal(t, "127.0.0.1:2", s.Listen)
	require.Equal(t, 20, s.DB.Conns)
	require.Equal(t, 5*time.Second, s.Grace)
	require.Equal(t, "hidden", s.Key.Reveal())
}

func TestBadSettingsAreNamed(t *testing.T) {
	t.Parallel()
	for arg, want := range map[string]string{"--unknown=1": "--unknown", "--db-conns=many": "--db-conns", "--grace=soon": "--grace"} {
		_, err := parse(arg)
		require.ErrorContains(t, err, want)
	}
}

func TestHelpIsPrintedAndIsNotAFailure(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	err := config.Parse(&settings{}, config.Source{Name: "test", Args: []string{"--help"}, Stdout: &out, Stderr: io.Discard})
	require.ErrorIs(t, err, config.ErrHelp)
	require.Contains(t, out.String(), "--db-conns")
}
