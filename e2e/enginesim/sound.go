package enginesim

import (
	"hash/fnv"
	"math"
	"strings"
	"unicode/utf8"
)

const (
	tokensPerSecond = 25
	gap             = .15 // of a word's time that is silent after it
	loudness        = .3  // of the loudest words
	softest         = .3  // of that
)

// pitches of words, in semitones above the voice's own: two octaves of a scale in which
// nothing sounds wrong.
var pitches = [...]float64{0, 2, 4, 7, 9, 12, 14, 16, 19, 21}

func hash(s string) uint64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(s))
	return h.Sum64()
}

const mannered = "\x00"

// Manner is a voice that speaks as instructions say, in another key than without them.
func Manner(voice, instructions string) string { return voice + mannered + instructions }

// Pitch is the frequency of a word in a voice, in Hz. Case and marks do not change it.
func Pitch(voice, word string) float64 {
	voice, manner, instructed := strings.Cut(voice, mannered)
	semitone := hash(voice) % 12
	if instructed {
		semitone = (semitone + 1 + hash(manner)%11) % 12 // another in any case
	}
	key := 110 * math.Pow(2, float64(semitone)/12)
	plain := strings.ToLower(strings.Trim(word, ".,;:!?\"'()“”’—…-"))
	return key * math.Pow(2, pitches[hash(plain)%uint64(len(pitches))]/12)
}

// Loudness is how loud a word is, of full scale 1, in sixteen steps: words that have a
// pitch in common can be told apart.
func Loudness(word string) float64 {
	return loudness * (softest + (1-softest)*float64(hash(word)>>32%16)/15)
}

// Sound is text in a voice as a tone a word, so many seconds long.
func Sound(voice, text string, seconds float64, rate int) []float32 {
	samples := make([]float32, int(seconds*float64(rate)))
	words := strings.Fields(text)
	all := 0
	for _, w := range words {
		all += utf8.RuneCountInString(w) + 1
	}
	at := 0
	for i, w := range words {
		n := len(samples) * (utf8.RuneCountInString(w) + 1) / all
		if i == len(words)-1 {
			n = len(samples) - at
		}
		tone(samples[at:at+n], Pitch(voice, w), Loudness(w), rate)
		at += n
	}
	return samples
}

// tone fills samples with a note that swells and dies away, and a gap.
func tone(samples []float32, hz, loud float64, rate int) {
	n := int(float64(len(samples)) * (1 - gap))
	step := 2 * math.Pi * hz / float64(rate)
	// sin((i+1)x) = 2 cos x · sin(ix) − sin((i−1)x), for the note and its octave.
	c1, c2 := 2*math.Cos(step), 2*math.Cos(2*step)
	a0, a1, b0, b1 := 0.0, math.Sin(step), 0.0, math.Sin(2*step)
	fade := min(rate/50, n/2)
	for i := range n {
		x := (a0 + .4*b0) * loud / 1.4
		a0, a1 = a1, c1*a1-a0
		b0, b1 = b1, c2*b1-b0
		if edge := min(i, n-1-i); edge < fade {
			x *= float64(edge) / float64(fade)
		}
		samples[i] = float32(x)
	}
}
