package up_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/platform/config"
	"github.com/voicemill/voicemill/voicemill/internal/up"
)

// The defaults are written twice, in tags for the command line and in Go.
func TestTheTagsNameTheDefaults(t *testing.T) {
	t.Parallel()
	var cfg up.Config
	_, err := config.Parse(&cfg, config.Source{Name: "voicemill up"})
	require.NoError(t, err)
	cfg.Scheduler.Limits = job.DefaultLimits()
	secrets := cmp.Comparer(func(a, b config.Secret) bool { return a.Reveal() == b.Reveal() })
	require.Empty(t, cmp.Diff(up.DefaultConfig(), cfg, secrets))
}

func TestOneSettingReachesEveryServiceThatHasIt(t *testing.T) {
	t.Parallel()
	var cfg up.Config
	_, err := config.Parse(&cfg, config.Source{Name: "voicemill up", Args: []string{"--callback-allow-private", "--callback-allow-prefixes=10.0.0.0/8", "--grace=30s"}})
	require.NoError(t, err)
	require.True(t, cfg.Gateway.CallbackAllowPrivate)
	require.True(t, cfg.Scheduler.Callback.AllowPrivate)
	require.Equal(t, cfg.Gateway.CallbackAllowPrefixes, cfg.Scheduler.Callback.AllowPrefixes)
	require.Equal(t, cfg.Gateway.Grace, cfg.Worker.Grace)
	require.Equal(t, cfg.Gateway.Grace, cfg.Scheduler.Grace)
}
