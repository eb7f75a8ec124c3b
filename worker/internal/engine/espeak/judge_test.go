package espeak_test

import (
	"os"
	"testing"

	"github.com/voicemill/voicemill/worker/internal/check/checktest"
	"github.com/voicemill/voicemill/worker/internal/engine/espeak"
)

// The audio of this engine, and defects planted in it, before the judge.
func TestTheJudge(t *testing.T) {
	e := open(t, espeak.Config{Helpers: 1})
	checktest.Prove(t, e, e.Info().Voices[0], checktest.Texts(t, os.Getenv("VOICEMILL_JUDGE_TEXTS"), 30))
}
