package neural

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/voicemill/voicemill/platform/weights"
	"github.com/voicemill/voicemill/worker/internal/engine"
	"github.com/voicemill/voicemill/worker/internal/engine/helper/wire"
	"github.com/voicemill/voicemill/worker/internal/engine/neural/ask"
)

// written shows a script: pieces as they are, IPA in slashes, clauses with their
// mark, a bar behind each sentence.
func written(s script) string {
	var b strings.Builder
	for _, sentence := range s.sentences {
		for _, c := range sentence.Clauses {
			for _, p := range c.Pieces {
				if p.IPA != "" {
					b.WriteString("/" + p.IPA + "/")
				}
				b.WriteString(p.Text)
			}
			b.WriteString("{" + c.End + "}")
		}
		b.WriteString("|")
	}
	return b.String()
}

func TestATextIsCutIntoSentencesAndClauses(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"Hello there. How are you?":                 "Hello there{.}| How are you{?}|",
		"One, two; three: four — five…":             "One{,} two{;} three{:} four {—} five{…}|",
		"“Stop!” he cried. (Really?) Yes.":          "“Stop{!}| he cried{.}| (Really{?}| Yes{.}|",
		"Mr. Bennet, of 3.14 Dr. Who St., left.":    "Mr. Bennet{,} of 3.14 Dr. Who St.{,} left{.}|",
		"J. R. R. Tolkien wrote. It was he, e.g. I": "J. R. R. Tolkien wrote{.}| It was he{,} e.g. I{}|",
		"It was I. He left.":                        "It was I{.}| He left{.}|",
		"你好，世界。再见！":                                 "你好{,}世界{.}|再见{!}|",
		"... — ! ?":                                 "",
		"tabs\tand\x01control":                      "tabs and control{}|",
	} {
		require.Equal(t, want, written(compose(&engine.Request{Text: text})), text)
	}
}

func TestAPronunciationTakesThePlaceOfItsWord(t *testing.T) {
	t.Parallel()
	r := &engine.Request{Text: "Ask Siobhan, now.", Pronunciations: []engine.Pronunciation{{Start: 4, End: 11, Alphabet: "ipa", Phonemes: "ʃɪˈvɔːn"}}}
	require.Equal(t, "Ask /ʃɪˈvɔːn/{,} now{.}|", written(compose(r)))
	r.Pronunciations[0].Alphabet, r.Pronunciations[0].Phonemes = "x-sampa", `SI"vO:n`
	require.Equal(t, "Ask /ʃɪˈvɔːn/{,} now{.}|", written(compose(r)))
	r.Pronunciations[0].Alphabet = "klingon"
	require.Equal(t, "Ask Siobhan{,} now{.}|", written(compose(r)))
}

func TestWordsArePlacedBetweenSilences(t *testing.T) {
	t.Parallel()
	text := "One two. Don’t stop!"
	s := compose(&engine.Request{Text: text})
	samples := make([]int16, 4000)
	for _, at := range []int{100, 1100, 2500} { // sound from 100 to 1100, and from 2500 to the end
		samples[at] = 9000
	}
	samples[3999] = 9000
	sentences, words := s.marks(text, []wire.Event{{Kind: wire.EventSentence, Position: 1}, {Kind: wire.EventSentence, Position: 2, Sample: 2000}}, samples)
	require.Equal(t, []engine.Mark{{Start: 0, End: 8, Sample: 0}, {Start: 9, End: len(text), Sample: 2000}}, sentences)
	require.Equal(t, []string{"One", "two", "Don’t", "stop"}, texts(text, words))
	require.EqualValues(t, 100, words[0].Sample)
	require.EqualValues(t, 100+1001/2, words[1].Sample)
	require.EqualValues(t, 2500, words[2].Sample)
}

func texts(text string, marks []engine.Mark) []string {
	var all []string
	for _, m := range marks {
		all = append(all, text[m.Start:m.End])
	}
	return all
}

func TestNoTextBreaksAScript(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.StringOfN(rapid.RuneFrom([]rune("ab.,;:!?—…\"' \u200d。，é\n1")), 1, 60, -1).Draw(t, "text")
		s := compose(&engine.Request{Text: text})
		require.Len(t, s.ranges, len(s.sentences))
		end := 0
		var events []wire.Event
		for i, r := range s.ranges {
			require.GreaterOrEqual(t, r.start, end)
			require.Greater(t, r.end, r.start)
			end = r.end
			events = append(events, wire.Event{Kind: wire.EventSentence, Position: uint32(i + 1), Sample: int64(i * 10)})
		}
		require.LessOrEqual(t, end, len(text))
		sentences, words := s.marks(text, events, make([]int16, 10*len(events)+10))
		for _, marks := range [][]engine.Mark{sentences, words} {
			last := engine.Mark{}
			for _, m := range marks {
				require.True(t, m.Start >= last.End && m.End > m.Start && m.Sample >= last.Sample, "%+v after %+v", m, last)
				last = m
			}
		}
	})
}

func kokoro() weights.Installed {
	return weights.Installed{Model: weights.Model{
		Name: "kokoro", Speakers: []string{"af_bella", "af_sky", "jf_x"},
		Voices: []weights.Voice{{Name: "af_bella", Language: "en", Espeak: "en-us"}, {Name: "af_sky", Language: "en", Espeak: "en-us", Speaker: 1}},
	}}
}

func TestBlends(t *testing.T) {
	t.Parallel()
	c := Config{Voices: map[string]string{"mix": "af_bella(3)+af_sky(1)", "bella": "af_bella"}}
	public, native, blends, err := c.voices(kokoro())
	require.NoError(t, err)
	require.Len(t, public, 4)
	require.Equal(t, []ask.Blend{{Place: 2, Parts: []ask.Part{{Speaker: 0, Weight: .75}, {Speaker: 1, Weight: .25}}}}, blends)
	require.Equal(t, voice{2, "en-us"}, native["mix"])
	require.Equal(t, voice{0, "en-us"}, native["bella"])
	for text, fault := range map[string]string{
		"": "no blend", "af_bella(x)": "no blend", "af_bella(1.2.3)": "no blend", "nobody": "no voice", "af_bella(0)+af_sky(0)": "more than 0",
	} {
		_, _, _, err := Config{Voices: map[string]string{"v": text}}.voices(kokoro())
		require.ErrorContains(t, err, fault, text)
	}
	_, _, _, err = Config{Voices: map[string]string{"a": "af_bella+af_sky", "b": "af_bella+af_sky(2)"}}.voices(kokoro())
	require.ErrorContains(t, err, "no more places")
}
