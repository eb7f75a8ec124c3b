package neural_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/platform/testkit/weightstest"
	"github.com/voicemill/voicemill/worker/internal/engine"
	"github.com/voicemill/voicemill/worker/internal/engine/enginetest"
	"github.com/voicemill/voicemill/worker/internal/engine/neural"
)

func open(tb testing.TB, cfg neural.Config) *neural.Engine {
	tb.Helper()
	if cfg.Model == "" {
		cfg.Model = "joe"
	}
	cfg.Models = weightstest.Need(tb, cfg.Model)
	cfg.Helper = helperPath
	e, err := neural.New(tb.Context(), cfg)
	require.NoError(tb, err)
	tb.Cleanup(func() { require.NoError(tb, e.Close()) })
	return e
}

func TestConformance(t *testing.T) {
	enginetest.Run(t, func(t *testing.T) engine.Engine {
		t.Helper()
		return open(t, neural.Config{Helpers: 1})
	})
}
