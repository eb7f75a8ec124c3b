package listen_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/voicemill/voicemill/worker/internal/listen"
)

func compare(language, said, heard string) listen.Report {
	return listen.Compare(listen.Tokens(language, said), listen.Tokens(language, heard), nil)
}

func TestTheSameWordsInAnotherSpellingAreNoErrors(t *testing.T) {
	t.Parallel()
	for said, heard := range map[string]string{
		"In 1815 he left.":                             "in eighteen fifteen he left",
		"It cost 1,815 francs":                         "It cost one thousand eight hundred and fifteen francs.",
		"the 3rd of May, the twenty-first":             "The third of May, the 21st.",
		"Chapter IV":                                   "Chapter four.",
		"Book I":                                       "Book one",
		"Mr. and Mrs. Bennet":                          "Mister and Missus Bennet",
		"Dr. Watson & Co.":                             "Doctor Watson and Co",
		"I can't, and you won't; they've gone.":        "I cannot and you will not, they have gone",
		"The colour of the centre was grey, realised.": "The color of the center was gray, realized.",
		"Good-bye, every one, to-day":                  "Goodbye everyone, today.",
		"No. 5":                                        "Number five",
		"She paid $5 and got 10% back.":                "She paid five dollars and got ten percent back.",
		"a hundred years":                              "100 years",
		"Two million, three hundred thousand":          "2,300,000",
		"café naïve":                                   "cafe naive",
		"The U.S.A. at ten thirty":                     "The USA at 10:30",
		"‘Hello,’ he said — “hello!”":                  "Hello, he said, hello.",
	} {
		r := compare("en-GB", said, heard)
		require.Zerof(t, r.CharErrors, "%q heard as %q: %+v", said, heard, r)
		require.Zero(t, r.WordErrors)
		require.Equal(t, listen.None, r.Worst.Fault)
	}
	require.Zero(t, compare("fr", "« Où est l'élève ? »", "ou est l'eleve").CharErrors)
	require.Zero(t, compare("de-DE", "Größe über Straße", "Groesse ueber Strasse").CharErrors)
	require.Zero(t, compare("zh", "你好，世界。", "你好世界").CharErrors)
	require.Equal(t, 4, compare("ja-JP", "こんにちは", "こ").CharErrors)
}

func TestOtherNumbersAreErrors(t *testing.T) {
	t.Parallel()
	for said, heard := range map[string]string{
		"In 1815 he left": "In 1850 he left", "twenty one men": "twenty men", "chapter three": "chapter four",
	} {
		require.Equalf(t, 1, compare("en", said, heard).WordErrors, "%q heard as %q", said, heard)
	}
}

const passage = "The harbour was quiet that morning. Nobody had seen the boat come in, and nobody would have believed it. " +
	"She counted the steps up to the lighthouse twice before she spoke."

func TestTheWorstStretchIsNamed(t *testing.T) {
	t.Parallel()
	sentences := strings.SplitAfter(passage, ". ")
	for name, c := range map[string]struct {
		heard string
		want  listen.Fault
		in    string // of what was said or heard in the stretch
	}{
		"left out":   {sentences[0] + sentences[2], listen.Missing, "nobody would have believed it"},
		"cut":        {passage[:60], listen.Missing, "counted the steps"},
		"doubled":    {sentences[0] + sentences[1] + sentences[1] + sentences[2], listen.Repeated, "nobody"},
		"babble":     {passage + " Marlin fervour quickly thus jam brook vexing of pelt", listen.Extra, "vexing"},
		"other text": {"A train left for Milan at noon with eleven angry bishops on its roof, singing.", listen.Other, ""},
		"silence":    {"", listen.Missing, "harbor"},
	} {
		r := compare("en", passage, c.heard)
		require.Equalf(t, c.want, r.Worst.Fault, "%s: %+v", name, r.Worst)
		require.Containsf(t, r.Worst.Said+r.Worst.Heard, c.in, "%s", name)
		require.NotEqual(t, listen.None, listen.DefaultLimits().Judge(listen.Evidence{Report: r}, 0).Fault, name)
	}
}

func TestAMisheardWordOrNameCondemnsNobody(t *testing.T) {
	t.Parallel()
	for said, heard := range map[string]string{
		"At noon Siobhan Fitzwilliam met Netherfield again.":   "At noon Shevaun Fits William met never field again.",
		"The harbour was quiet and nobody had seen the boat.":  "The harbor was quite and nobody had seen the bolt.",
		"Frisch weht der Wind, she sang, and closed the door.": "Fresh wet there wind, she sang, and closed the door.",
	} {
		r := compare("en", said, heard)
		require.NotZero(t, r.WordErrors)
		require.Equalf(t, listen.None, listen.DefaultLimits().Judge(listen.Evidence{Report: r}, 0).Fault, "%q: %+v", said, r.Worst)
	}
}

func TestWhatIsHeardWithoutEndIsBounded(t *testing.T) {
	t.Parallel()
	r := compare("en", "Stop it now.", "Stop it now."+strings.Repeat(" and so on", 1000))
	require.Equal(t, listen.Extra, r.Worst.Fault)
	require.GreaterOrEqual(t, r.Worst.Weight, 7000)
	require.Equal(t, listen.None, compare("en", "", "").Worst.Fault)
}

// words draws texts of words that are far from each other.
var words = rapid.SliceOfN(rapid.SampledFrom([]string{
	"harbor", "quickly", "bishop", "mountain", "believed", "lighthouse", "umbrella", "twice", "window", "gentle", "orchard", "puzzle", "zebra",
}), 3, 40)

func TestComparisonHolds(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		said := words.Draw(t, "said")
		text := strings.Join(said, " ")
		if r := compare("en", text, strings.ToUpper(text)+"!"); r.CharErrors+r.WordErrors+r.Worst.Weight != 0 {
			t.Fatalf("the same text: %+v", r)
		}
		from := rapid.IntRange(0, len(said)-1).Draw(t, "from")
		to := rapid.IntRange(from+1, len(said)).Draw(t, "to")
		left := strings.Join(append(append([]string{}, said[:from]...), said[to:]...), " ")
		lost := 0
		for _, w := range listen.Tokens("en", strings.Join(said[from:to], " ")) {
			lost += len(w.Text)
		}
		missing, extra := compare("en", text, left), compare("en", left, text)
		if missing.CharErrors > lost || missing.Worst.Weight > lost || missing.CharErrors != extra.CharErrors {
			t.Fatalf("%d characters lost, %+v, %+v", lost, missing, extra)
		}
		if lost > 0 && (missing.Worst.Fault != listen.Missing || missing.Worst.Weight == 0) {
			t.Fatalf("words %d to %d left out: %+v", from, to, missing.Worst)
		}
		if lost > 0 && extra.Worst.Fault != listen.Extra && extra.Worst.Fault != listen.Repeated {
			t.Fatalf("words %d to %d put in: %+v", from, to, extra.Worst)
		}
	})
}

func FuzzCompare(f *testing.F) {
	for _, language := range []string{"en", "de", "zh-Hans", "ja", ""} {
		f.Add(language, "Mr. O’Neill paid $1,815.50 in Chapter IV; 你好 ー。", "mister o'neill paid eighteen hundred dollars in the\xff fourth")
	}
	f.Add("en", "a hundred and", "one two three thousand million billion and a")
	f.Add("en", strings.Repeat("nine hundred ninety nine billion ", 9), "1,,000..5%°&")
	f.Fuzz(func(t *testing.T, language, said, heard string) {
		said, heard = said[:min(len(said), 2000)], heard[:min(len(heard), 2000)]
		s, h := listen.Tokens(language, said), listen.Tokens(language, heard)
		r := listen.Compare(s, h, nil)
		if r.CharErrors < 0 || r.WordErrors < 0 || r.Worst.From > r.Worst.To || r.Worst.To > len(s) || (r.Worst.Weight > 0) != (r.Worst.Fault != listen.None) {
			t.Fatalf("%+v", r)
		}
		if same := listen.Compare(s, s, nil); same.CharErrors+same.WordErrors != 0 {
			t.Fatalf("a text differs from itself: %+v", same)
		}
		back := listen.Compare(h, s, nil)
		if len(s) <= listen.MaxTokens && len(h) <= listen.MaxTokens && back.CharErrors != r.CharErrors {
			t.Fatalf("%d errors one way, %d the other", r.CharErrors, back.CharErrors)
		}
	})
}
