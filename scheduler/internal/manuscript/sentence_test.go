package manuscript

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestSentencesEndWhereReadersPause(t *testing.T) {
	t.Parallel()
	for text, lang := range map[string]string{
		"It was late.| He left.": "en",
		"Dr. Brandes met Mr. and Mrs. Jones in St. Ives.| They spoke.": "en",
		"J. R. R. Tolkien wrote it.| He was born in 1892.":             "en",
		"So did I.| Then we left.":                                     "en",
		"He lives in the U.S. Army base.| It is big.":                  "en",
		"He lives in the U.S.| He likes it.":                           "en",
		"At 5 p.m. we met.| At 6 p.m.| The train left.":                "en",
		"See No. 5 and Fig. 3.| No.| Not that.":                        "en",
		"“What?” he said.| “Nothing.”| She left.":                      "en",
		"He said “Stop!” and ran.| Why?!| Because.":                    "en",
		"It cost $3.50.| That is 4.5 times more.":                      "en",
		"Wait ... what?| Yes … no.":                                    "en",
		"He came (late.)| She did not.":                                "en",
		"IV. The Return of the King.| It begins.":                      "en",
		"1. The first point.| Then more.":                              "en",
		"We need bread, milk, etc.| Then we go.":                       "en",
		"Am 3. Oktober 1990 war z. B. Dr. Kohl da.| Danach nicht.":     "de",
		"Das gilt bzw. galt.| Es war 1990.| Und heute?":                "de",
		"M. Dupont habite av. Foch.| Il est là.":                       "fr",
		"El Sr. García llegó.| ¿Qué dijo?| ¡Nada!":                     "es",
		"Il sig. Rossi è qui.| Ecco.":                                  "it",
		"Он родился в 1900 г. в Москве.| Потом уехал.":                 "ru",
		"「行く。」と言った。|彼は去った。":                                            "ja",
		"行くか？|行かない！|終わり。":                                              "ja",
		"他说：“走吧。”|她没走。":                                                "zh",
		"यह अच्छा है।| वह गया।":                                        "hi",
		"هل جئت؟| نعم. |جئت أمس.":                                      "ar",
		"Τι κάνεις; Καλά.| Εσύ;":                                       "el",
		"":                                                             "en",
		"no end":                                                       "en",
	} {
		want := strings.Split(text, "|")
		whole := strings.ReplaceAll(text, "|", "")
		var got []string
		start := 0
		for _, end := range sentenceEnds(whole, lang, nil) {
			got = append(got, whole[start:end])
			start = end
		}
		trim := func(list []string) []string {
			out := make([]string, len(list))
			for i, s := range list {
				out[i] = strings.TrimSpace(s)
			}
			return out
		}
		if diff := cmp.Diff(trim(want), trim(got)); diff != "" {
			t.Errorf("sentences of %q (-want +got):\n%s", whole, diff)
		}
	}
}

func TestPaceCountsWhatIsSpoken(t *testing.T) {
	t.Parallel()
	weigh := func(lang, text string) float64 { return newMeter(lang, CharsPerSecond).weigh(text) }
	for name, c := range map[string]struct{ more, less float64 }{
		"digits are longer than letters":      {weigh("en", "1984"), weigh("en", "abcd")},
		"symbols are words":                   {weigh("en", "%"), weigh("en", "a")},
		"a character is longer than a letter": {weigh("ja", "日"), weigh("ja", "a")},
		"Chinese in an English text":          {weigh("en", "日本"), weigh("en", "ab")},
		"other digits are digits":             {weigh("ar", "١٢"), weigh("ar", "اب")},
	} {
		if c.more <= c.less {
			t.Errorf("%s: %g s is not more than %g s", name, c.more, c.less)
		}
	}
	if got, want := weigh("ar", "كِتَابٌ"), weigh("ar", "كتاب"); got != want {
		t.Errorf("vowel marks add %g s", got-want)
	}
	if CharsPerSecond("en-GB") != 15.2 || CharsPerSecond("xx") != 14 {
		t.Error("a region changes the pace, or an unknown language has none")
	}
}

func FuzzSentences(f *testing.F) {
	for _, s := range []string{"Dr. A. B. said \"No.\" Then he left.", "「行く。」と。", "1. 2. 3.", "...", "a.b.c. D", "\xff. A", ". . .", "I. V. X."} {
		f.Add(s, "en")
		f.Add(s, "de-AT")
	}
	f.Fuzz(func(t *testing.T, text, lang string) {
		last := 0
		ends := sentenceEnds(text, lang, nil)
		for i, end := range ends {
			if end < last || end == last && i > 0 && text != "" {
				t.Fatalf("ends %v do not rise", ends)
			}
			last = end
		}
		if last != len(text) {
			t.Fatalf("the last sentence ends at %d of %d", last, len(text))
		}
	})
}
