package triton

import (
	"testing"
	"time"

	"github.com/voicemill/voicemill/worker/internal/engine"
	"github.com/voicemill/voicemill/worker/internal/engine/enginetest"
)

func TestConformanceOverTheSimulatedEngine(t *testing.T) {
	t.Parallel()
	program := enginetest.Simulator(t)
	for _, model := range []string{"cosyvoice3", "cosyvoice3_stream", "cosyvoice3_rows"} {
		t.Run(model, func(t *testing.T) {
			t.Parallel()
			sim := enginetest.Simulate(t, program)
			cfg := Config{
				Backends: []string{sim.GRPC}, Model: model, BackendRate: enginetest.Rate, MaxTokens: 4000, MaxBatch: 8, Window: 6, Instructions: true,
				Voices: map[string]Voice{"anna": {RefAudio: recording(t, 24000, 3), RefText: "What is said.", Language: "en"}},
			}
			t.Run("suite", func(t *testing.T) {
				enginetest.Run(t, func(t *testing.T) engine.Engine { return open(t, cfg) })
			})
			cfg.MinTimeout, cfg.TimeoutFactor = time.Second, 1
			enginetest.Failures(t, func(t *testing.T) engine.Engine { return open(t, cfg) })
		})
	}
}
