package check_test

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/worker/internal/check"
)

// babble is seconds of syllables, none like another in pitch and loudness.
func babble(seconds float64, seed uint64) []int16 {
	random := rand.New(rand.NewPCG(seed, 1)) //nolint:gosec // the same each time
	var out []int16
	for len(out) < int(seconds*rate) {
		n := rate/8 + random.IntN(rate/8)
		hz, loud := 100*math.Pow(2, 3*random.Float64()), 1000*math.Pow(2, 4*random.Float64())
		for i := range n {
			swell := math.Sin(math.Pi * float64(i) / float64(n))
			out = append(out, int16(loud*swell*math.Sin(2*math.Pi*hz*float64(i)/rate)))
		}
	}
	return out[:int(seconds*rate)]
}

func TestAStretchThatSoundsTwiceIsFound(t *testing.T) {
	t.Parallel()
	cfg := check.Default()
	said := babble(8, 1)
	again := slices.Concat(said[:5*rate], said[2*rate:]) // three seconds
	want := cfg.Rough(8)
	require.True(t, check.Judge(cfg, said, rate, want).OK)
	v := check.Judge(cfg, again, rate, want)
	require.Equal(t, check.Repeated, v.Reason)
	require.InDelta(t, 3, v.Repeated, .5)
	want.Repeats = true
	require.True(t, check.Judge(cfg, again, rate, want).OK, "the text repeats itself")
	require.True(t, check.Judge(cfg, again, rate, cfg.Rough(11)).OK, "it is as long as the text")
	require.Zero(t, check.Judge(cfg, tone(8, .5), rate, cfg.Rough(8)).Repeated, "a hum repeats nothing")
}

func TestRepeatsKnowsTextsThatSayThingsTwice(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]bool{
		"":                               false,
		"A quiet river, and a wide one.": false,
		"Never again. Never, AGAIN!":     true,
		"Nevermore, said he. Nevermore,": false,
		"Never before? Never before.":    true,
		"Row, row, row your boat.":       false,
		"Ha ha ha ha ha ha ha ha ha.":    true,
		"На дворе трава, на дворе дрова.": true,
		"今天天气很好，今天天气很好。":                  true,
	} {
		require.Equal(t, want, check.Repeats(text), text)
	}
}
