package check_test

import (
	"math"
	"math/rand/v2"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/worker/internal/check"
)

func lasts(seconds float64) check.Verdict { return check.Verdict{OK: true, Seconds: seconds} }

func TestAVoiceIsJudgedByItsOwnPace(t *testing.T) {
	t.Parallel()
	cfg, h := check.Default(), check.NewHistory()
	slow := check.Speaker{Voice: "slow", Language: "en", Speed: 1}
	random := rand.New(rand.NewPCG(1, 2)) //nolint:gosec // the same each time
	for range 15 {
		h.Note(slow, 10, lasts(17))
	}
	require.Equal(t, cfg.Rough(10), h.Expect(cfg, slow, 10), "too little is known")
	for range 200 {
		h.Note(slow, 10, lasts(17*math.Exp(.05*random.NormFloat64())))
	}
	for range 20 { // an engine that cuts what it says does not become the norm
		h.Note(slow, 10, lasts(6))
	}
	want := h.Expect(cfg, slow, 10)
	require.InDelta(t, 17, want.Seconds, 1)
	require.Equal(t, check.TooShort, check.Judge(cfg, tone(9, .5), rate, want).Reason)
	require.Equal(t, check.TooLong, check.Judge(cfg, tone(29, .5), rate, want).Reason)
	require.True(t, check.Judge(cfg, tone(17, .5), rate, want).OK)
	require.Equal(t, cfg.Rough(10), h.Expect(cfg, check.Speaker{Voice: "other"}, 10), "another voice")
}

func TestWhatIsNoSpeechTellsNothingOfAVoice(t *testing.T) {
	t.Parallel()
	cfg, h := check.Default(), check.NewHistory()
	s := check.Speaker{Voice: "v"}
	for range 100 {
		h.Note(s, 10, check.Verdict{Reason: check.Noise, Seconds: 3})
		h.Note(s, 0, lasts(3))
		h.Note(s, 10, check.Verdict{Reason: check.Silent, Seconds: 3, Lead: 3})
	}
	require.Equal(t, cfg.Rough(10), h.Expect(cfg, s, 10))
}

func TestAHistoryIsBounded(t *testing.T) {
	t.Parallel()
	cfg, h := check.Default(), check.NewHistory()
	first := check.Speaker{Voice: "0"}
	for i := range 501 {
		for range 16 {
			h.Note(check.Speaker{Voice: strconv.Itoa(i)}, 10, lasts(10))
		}
	}
	require.Equal(t, cfg.Rough(10), h.Expect(cfg, first, 10), "the 501st voice has all forgotten")
	require.NotEqual(t, cfg.Rough(10), h.Expect(cfg, check.Speaker{Voice: "500"}, 10))
}

// Instructions are free text: whoever writes some costs nobody else what is known of a voice.
func TestInstructedSpeakersAreForgottenFirst(t *testing.T) {
	t.Parallel()
	cfg, h := check.Default(), check.NewHistory()
	voice := check.Speaker{Voice: "v"}
	for range 16 {
		h.Note(voice, 10, lasts(10))
	}
	for i := range 2000 {
		h.Note(check.Speaker{Voice: "v", Instructions: strconv.Itoa(i)}, 10, lasts(10))
	}
	require.NotEqual(t, cfg.Rough(10), h.Expect(cfg, voice, 10))
}
