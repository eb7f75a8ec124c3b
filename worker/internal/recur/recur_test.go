package recur_test

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/worker/internal/recur"
)

const rate = 16000

// syllable is a sound of its own: harmonics of a voice about two resonances.
type syllable struct{ seconds, low, high, loud float64 }

// babble draws syllables, none like another.
func babble(n int, seed uint64) []syllable {
	random := rand.New(rand.NewPCG(seed, 1)) //nolint:gosec // the same each time
	all := make([]syllable, n)
	for i := range all {
		all[i] = syllable{.12 + .15*random.Float64(), 250 + 600*random.Float64(), 900 + 2200*random.Float64(), .1 + .3*random.Float64()}
	}
	return all
}

// say speaks syllables so fast, so loud and at such a pitch.
func say(all []syllable, pace, loud, pitch float64) (out []int16) {
	for _, s := range all {
		n := int(s.seconds / pace * rate)
		sound := make([]float64, n)
		for hz := pitch; hz < 4000; hz += pitch {
			low, high := (hz-s.low)/150, (hz-s.high)/200
			near := math.Exp(-low*low) + .6*math.Exp(-high*high)
			for i := range sound {
				if near > .01 {
					sound[i] += near * math.Sin(2*math.Pi*hz*float64(i)/rate+hz)
				}
			}
		}
		for i, x := range sound {
			out = append(out, int16(x*math.Sin(math.Pi*float64(i)/float64(n))*s.loud*loud*6000))
		}
	}
	return out
}

func seconds(samples []int16) float64 { return float64(len(samples)) / rate }

func TestWhatIsSaidTwiceIsFoundWhereItIs(t *testing.T) {
	t.Parallel()
	all := babble(24, 1)
	before, twice, after := say(all[:12], 1, 1, 120), say(all[12:20], 1, 1, 120), say(all[20:], 1, 1, 120)
	got := recur.Find(slices.Concat(before, twice, twice, after), rate)
	require.Greater(t, got.Seconds, .7*seconds(twice))
	require.InDelta(t, seconds(before), got.From, .15)
	require.InDelta(t, seconds(before)+seconds(twice), got.To, .15)
	require.InDelta(t, seconds(before)+seconds(twice), got.Again, .15)
	require.InDelta(t, seconds(before)+2*seconds(twice), got.End, .15)
}

// TestAnotherSayingIsAsGood has other samples: at another pace, level and pitch, and in noise.
func TestAnotherSayingIsAsGood(t *testing.T) {
	t.Parallel()
	for seed := range uint64(3) {
		all := babble(24, seed)
		again := say(all[12:20], 1.07, .6, 127)
		said := slices.Concat(say(all[:20], 1, 1, 120), make([]int16, rate/5), again, say(all[20:], 1, 1, 120))
		random := rand.New(rand.NewPCG(seed, 2)) //nolint:gosec // the same each time
		for i := range said {
			said[i] += int16(random.IntN(40) - 20) //nolint:gosec // it fits
		}
		found, none := recur.Find(said, rate).Seconds, recur.Find(say(all, 1, 1, 120), rate).Seconds
		require.Greater(t, found, .45, "seed %d", seed)
		require.Less(t, none, .3, "seed %d", seed)
	}
}

func TestWhatSaysNothingSaysNothingTwice(t *testing.T) {
	t.Parallel()
	hum, hiss := make([]int16, 5*rate), make([]int16, 5*rate)
	random := rand.New(rand.NewPCG(1, 1)) //nolint:gosec // the same each time
	for i := range hum {
		hum[i], hiss[i] = int16(5000*math.Sin(float64(i)/20)*(1+math.Sin(float64(i)/4000))), int16(random.IntN(9000)-4500) //nolint:gosec // it fits
	}
	for name, samples := range map[string][]int16{"none": nil, "silence": make([]int16, 5*rate), "a hum": hum, "hiss": hiss, "a click": {1, 9999, 3}} {
		require.Less(t, recur.Find(samples, rate).Seconds, .1, name)
	}
	require.Zero(t, recur.Find(hum, 10), "no rate that speech has")
	require.Zero(t, recur.Twice(hum, 0, "hum"), "no rate at all")
}

func TestATextIsExpectedToSoundTwiceWhereItSaysSo(t *testing.T) {
	t.Parallel()
	for text, want := range map[string][2]float64{
		"":                               {0, 0},
		"A quiet river, and a wide one.": {0, .1},
		"He blamed the moon, but he blamed the moon for most things.":  {.4, 1.5},
		"Fill the lamp with oil; then fill the lamps with better oil.": {.4, 1.5},
		"In 1871 it was one, and in 1871 it was one.":                  {.4, 2},
		"今天天气很好，今天天气很好。":                                               {.5, 2},
	} {
		got := recur.Expect(text, 5)
		require.GreaterOrEqual(t, got, want[0], text)
		require.LessOrEqual(t, got, want[1], text)
		require.InDelta(t, 2*got, recur.Expect(text, 10), 1e-9, text)
	}
}

func BenchmarkFind(b *testing.B) {
	said := say(babble(75, 1), 1, 1, 120)[:15*rate]
	for b.Loop() {
		recur.Find(said, rate)
	}
}
