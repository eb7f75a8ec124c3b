package espeak

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/voicemill/voicemill/worker/internal/engine"
	"github.com/voicemill/voicemill/worker/internal/engine/helper/wire"
)

func TestPhonemes(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		alphabet, phonemes, language, want string
	}{
		"IPA":                          {"ipa", "ˈvɔɪs.mɪl", "en", "v'OIsmIl"},
		"IPA with a tie":               {"ipa", "t͡ʃiːz", "en-GB", "tSi:z"},
		"IPA in German":                {"ipa", "ˈhøːlə", "de", "h'Y:l@"},
		"X-SAMPA":                      {"x-sampa", `"vOIs%mIl`, "en", "v'OIsm,Il"},
		"X-SAMPA nasal":                {"x-sampa", "bO~", "fr", "bO~"},
		"a sound the language lacks":   {"ipa", "y", "en", ""},
		"a language that is not known": {"ipa", "a", "ko", ""},
		"an unknown symbol":            {"ipa", "aʘ", "en", ""},
		"a space":                      {"ipa", "a a", "en", ""},
		"an attempt to break out":      {"ipa", "a]]\x01", "en", ""},
		"an unknown alphabet":          {"cmu", "AA0", "en", ""},
		"nothing":                      {"ipa", "", "en", ""},
		"stress on nothing":            {"ipa", "paˈ", "en", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := convertible([]engine.Pronunciation{{End: 1, Alphabet: c.alphabet, Phonemes: c.phonemes}}, c.language)
			if c.want == "" {
				require.Empty(t, got)
				return
			}
			require.Equal(t, c.want, got[0].Phonemes)
		})
	}
}

func TestPronunciationReplacesItsRange(t *testing.T) {
	t.Parallel()
	r := &engine.Request{Text: "Ä Nguyen [x].", Pronunciations: []engine.Pronunciation{{Start: 3, End: 9, Alphabet: "ipa", Phonemes: "win"}}}
	s := compose(r, "en")
	require.Equal(t, "Ä [[win]]  x].", s.text)
	require.True(t, s.phonemes)
	require.Equal(t, span{0, 2}, s.ranges[0])
	require.Equal(t, span{3, 9}, s.ranges[2])
	require.Equal(t, span{3, 9}, s.ranges[8])
	require.Equal(t, span{9, 10}, s.ranges[9])
	r.Pronunciations[0].Phonemes = "ʘ"
	s = compose(r, "en")
	require.Equal(t, r.Text, s.text)
	require.False(t, s.phonemes)
}

func TestMarksAreOrderedWhateverTheEvents(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.StringN(1, 60, 200).Draw(t, "text")
		if !utf8.ValidString(text) || strings.TrimSpace(text) == "" {
			return
		}
		s := compose(&engine.Request{Text: text}, "en")
		if utf8.RuneCountInString(s.text) != len(s.ranges) {
			t.Fatalf("%d ranges for %q", len(s.ranges), s.text)
		}
		events := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) wire.Event {
			return wire.Event{
				Kind:     wire.EventKind(rapid.IntRange(1, 2).Draw(t, "kind")),
				Position: rapid.Uint32Range(0, 80).Draw(t, "position"),
				Length:   rapid.Uint32Range(0, 1<<31).Draw(t, "length"),
				Sample:   rapid.Int64Range(0, 1000).Draw(t, "sample"),
			}
		}), 0, 20).Draw(t, "events")
		sentences, words := s.marks(text, events)
		if len(sentences) == 0 {
			t.Fatal("no sentence")
		}
		for _, marks := range [][]engine.Mark{sentences, words} {
			end, sample := 0, int64(0)
			for _, m := range marks {
				if m.Start < end || m.End <= m.Start || m.End > len(text) || m.Sample < sample || !utf8.ValidString(text[m.Start:m.End]) {
					t.Fatalf("mark %+v of %q after byte %d and sample %d", m, text, end, sample)
				}
				end, sample = m.End, m.Sample
			}
		}
	})
}
