package libespeak_test

import (
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/platform/weights"
	"github.com/voicemill/voicemill/worker/internal/engine/espeak/libespeak"
)

// A voice of a model without phonemes would be offered, and its pool would wait for ever.
func TestEveryVoiceOfTheCatalogueHasPhonemes(t *testing.T) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	p, err := libespeak.OpenPhonemes(libespeak.Config{})
	require.NoError(t, err, "espeak-ng is needed: apt-get install espeak-ng")
	defer func() { require.NoError(t, p.Close()) }()
	all, err := weights.OpenCatalogue("")
	require.NoError(t, err)
	for _, m := range all {
		for _, v := range m.Voices {
			said, err := p.IPA(v.Espeak, "no", 0)
			require.NoError(t, err, "voice %s of %s", v.Name, m.Name)
			require.NotEmpty(t, said)
		}
	}
	_, err = p.IPA("nobody", "no", 0)
	require.Error(t, err)
}
