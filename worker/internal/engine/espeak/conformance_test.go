package espeak_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/worker/internal/engine"
	"github.com/voicemill/voicemill/worker/internal/engine/enginetest"
	"github.com/voicemill/voicemill/worker/internal/engine/espeak"
)

func open(tb testing.TB, cfg espeak.Config) *espeak.Engine {
	tb.Helper()
	if cfg.Helper == "" {
		cfg.Helper = helperPath
	}
	e, err := espeak.New(tb.Context(), cfg)
	require.NoError(tb, err, "espeak-ng is needed: apt-get install espeak-ng")
	tb.Cleanup(func() { require.NoError(tb, e.Close()) })
	return e
}

func TestConformance(t *testing.T) {
	t.Parallel()
	for name, cfg := range map[string]espeak.Config{
		"a helper for each CPU": {},
		"a single helper":       {Helpers: 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			enginetest.Run(t, func(t *testing.T) engine.Engine { return open(t, cfg) })
		})
	}
}
