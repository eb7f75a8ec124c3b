package worker

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// A chapter in two languages may have a voice of an installed model and one of
// espeak-ng, and what is joined has one rate.
func TestEspeakSpeaksAtTheRateOfTheInstalledVoices(t *testing.T) {
	t.Parallel()
	require.Equal(t, 24000, alike([]Pool{{Rate: 24000}}, DefaultPools())[0].Rate)
	require.Zero(t, alike(nil, DefaultPools())[0].Rate, "without them at its own")
}
