package espeak

import "github.com/voicemill/voicemill/worker/internal/engine"

// convertible returns the pronunciations of which every symbol has a name in
// the library, with that as Phonemes.
func convertible(all []engine.Pronunciation) []engine.Pronunciation {
	return nil
}
