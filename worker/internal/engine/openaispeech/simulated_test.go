package openaispeech

import (
	"testing"
	"time"

	"github.com/voicemill/voicemill/worker/internal/engine"
	"github.com/voicemill/voicemill/worker/internal/engine/enginetest"
)

func TestConformanceOverTheSimulatedEngine(t *testing.T) {
	t.Parallel()
	program := enginetest.Simulator(t)
	for _, dialect := range []Dialect{VLLMOmni, SGLangOmni, Generic} {
		t.Run(string(dialect), func(t *testing.T) {
			t.Parallel()
			sim := enginetest.Simulate(t, program, "-dialect", string(dialect))
			cfg := settings(t, serve(t, dialect))
			cfg.Backends, cfg.BackendRate, cfg.MaxTextBytes, cfg.Window = []string{"http://" + sim.HTTP}, enginetest.Rate, 1024, 6
			cfg.Instructions = dialect != Generic
			t.Run("suite", func(t *testing.T) {
				enginetest.Run(t, func(t *testing.T) engine.Engine { return open(t, cfg) })
			})
			cfg.MinTimeout, cfg.TimeoutFactor = time.Second, 1
			enginetest.Failures(t, func(t *testing.T) engine.Engine { return open(t, cfg) })
		})
	}
}
