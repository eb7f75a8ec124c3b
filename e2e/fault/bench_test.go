package fault_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/e2e/internal/stage"
)

// BenchmarkGatewayStart is the time from starting the gateway's process to the
// first answer of its admin port, with its servers running.
func BenchmarkGatewayStart(b *testing.B) {
	s := stage.New(b, bin)
	for b.Loop() {
		b.StopTimer()
		require.NoError(b, s.Stop(stage.Gateway))
		b.StartTimer()
		require.NoError(b, s.Start(b.Context(), stage.Gateway))
	}
	b.ReportMetric(float64(b.Elapsed().Milliseconds())/float64(b.N), "ms/start")
}
