package phoneme

import (
	"regexp"
	"strings"
)

// Style is the way in which a family of models writes sounds.
type Style int

// The styles.
const (
	Plain  Style = iota // IPA as espeak-ng writes it: Piper, and all the others
	Kokoro              // Kokoro's own letters for diphthongs and affricates
)

// Tie is what stands between the letters of one sound in what Spell is given.
const Tie = '^'

var (
	languageMark = regexp.MustCompile(`\([a-z-]{2,12}\)`) // "(en)ˈaɪfəʊn(de)"
	spaces       = regexp.MustCompile(`\s+`)
)

// Spell writes ipa in a style. language is the voice of espeak-ng that it is for;
// letters of one sound may be joined by [Tie].
func Spell(ipa, language string, style Style) string {
	ipa = languageMark.ReplaceAllString(ipa, "")
	ipa = decompose.Replace(ipa)
	if style == Kokoro {
		ipa = kokoro(ipa, language)
	}
	ipa = strings.ReplaceAll(ipa, string(Tie), "")
	return strings.TrimSpace(spaces.ReplaceAllString(ipa, " "))
}

// decompose takes letters apart that the models know only with their marks apart,
// and other ways to write a tie away.
var decompose = strings.NewReplacer(
	"ç", "c\u0327", "ã", "a\u0303", "õ", "o\u0303", "ẽ", "e\u0303", "ĩ", "i\u0303", "ũ", "u\u0303",
	"\u0361", string(Tie), "\u035c", string(Tie), "g", "ɡ",
)

type rule struct{ from, to string }

// Kokoro was trained on letters of its own for sounds of two letters. The longest
// come first.
var (
	kokoroEnglish = []rule{
		{"ʔˌn\u0329", "tn"},
		{"ʔn\u0329", "tn"},
		{"ə^l", "ᵊl"},
		{"a^ɪ", "I"},
		{"a^ʊ", "W"},
		{"d^ʒ", "ʤ"},
		{"e^ɪ", "A"},
		{"t^ʃ", "ʧ"},
		{"ɔ^ɪ", "Y"},
		{"ʔn", "tn"},
		{"ʲo", "jo"},
		{"ʲə", "jə"},
		{"ʔ", "t"},
		{"ʲ", ""},
		{"ɚ", "əɹ"},
		{"r", "ɹ"},
		{"x", "k"},
		{"c\u0327", "k"},
		{"ɐ", "ə"},
		{"ɬ", "l"},
		{"\u0303", ""},
		{"\u0329", ""},
	}
	kokoroBritish  = []rule{{"e^ə", "ɛː"}, {"iə", "ɪə"}, {"ə^ʊ", "Q"}, {"e", "A"}, {"o", "ɔ"}}
	kokoroAmerican = []rule{{"o^ʊ", "O"}, {"ɜːɹ", "ɜɹ"}, {"ɜː", "ɜɹ"}, {"ɪə", "iə"}, {"ː", ""}, {"e", "A"}, {"o", "ɔ"}}
	kokoroOther    = []rule{
		{"a^ɪ", "I"},
		{"a^ʊ", "W"},
		{"d^z", "ʣ"},
		{"d^ʒ", "ʤ"},
		{"e^ɪ", "A"},
		{"o^ʊ", "O"},
		{"ə^ʊ", "Q"},
		{"t^s", "ʦ"},
		{"t^ʃ", "ʧ"},
		{"ɔ^ɪ", "Y"},
		{"c\u0327", "ç"},
	}
)

func kokoro(ipa, language string) string {
	rules := [][]rule{kokoroOther}
	switch {
	case strings.HasPrefix(language, "en-us"):
		rules = [][]rule{kokoroEnglish, kokoroAmerican}
	case strings.HasPrefix(language, "en"):
		rules = [][]rule{kokoroEnglish, kokoroBritish}
	}
	for _, set := range rules {
		for _, r := range set {
			ipa = strings.ReplaceAll(ipa, r.from, r.to)
		}
	}
	return ipa
}

// diphthongs are joined in what people write, so that it is spelled like what
// espeak-ng says.
var ties = strings.NewReplacer(
	"aɪ", "a^ɪ", "aʊ", "a^ʊ", "eɪ", "e^ɪ", "oʊ", "o^ʊ", "əʊ", "ə^ʊ", "ɔɪ", "ɔ^ɪ", "dʒ", "d^ʒ", "tʃ", "t^ʃ", "ʤ", "d^ʒ", "ʧ", "t^ʃ", "ts", "t^s", "dz", "d^z",
)

// FromIPA prepares a pronunciation that somebody wrote for [Spell].
func FromIPA(ipa string) string {
	ipa = strings.NewReplacer("\u0361", "", "\u035c", "", ".", "", "‿", "", "'", "ˈ", ":", "ː").Replace(ipa)
	return ties.Replace(ipa)
}

// FromXSampa translates X-SAMPA into IPA; ok is false if a symbol is unknown.
func FromXSampa(text string) (ipa string, ok bool) {
	var b strings.Builder
	for text != "" {
		size := 0
		for n := min(longestXSampa, len(text)); n > 0 && size == 0; n-- {
			if symbol, known := xsampa[text[:n]]; known {
				b.WriteString(symbol)
				size = n
			}
		}
		if size == 0 {
			return "", false
		}
		text = text[size:]
	}
	return b.String(), true
}

const longestXSampa = 4

// xsampa is the part of X-SAMPA that the languages of neural voices need.
var xsampa = map[string]string{
	"p": "p", "b": "b", "t": "t", "d": "d", "k": "k", "g": "ɡ", "f": "f", "v": "v", "s": "s", "z": "z", "m": "m", "n": "n", "l": "l", "h": "h", "j": "j", "w": "w",
	"c": "c", "q": "q", "x": "x", "r": "r", `r\`: "ɹ", "4": "ɾ", "R": "ʁ", `R\`: "ʀ", "S": "ʃ", "Z": "ʒ", "T": "θ", "D": "ð", "N": "ŋ", "C": "ç", "J": "ɲ", "L": "ʎ",
	"B": "β", "G": "ɣ", "H": "ɥ", "P": "ʋ", "W": "ʍ", "X": "χ", "F": "ɱ", "?": "ʔ", "5": "ɫ", "t`": "ʈ", "d`": "ɖ", `s\`: "ɕ", `z\`: "ʑ",
	"a": "a", "e": "e", "i": "i", "o": "o", "u": "u", "y": "y", "{": "æ", "2": "ø", "9": "œ", "E": "ɛ", "O": "ɔ", "@": "ə", "I": "ɪ", "U": "ʊ", "V": "ʌ", "Q": "ɒ",
	"A": "ɑ", "3": "ɜ", "@`": "ɚ", "3`": "ɝ", "6": "ɐ", "Y": "ʏ", "1": "ɨ", "}": "ʉ", "M": "ɯ", "7": "ɤ", "8": "ɵ", "&": "ɶ",
	":": "ː", `"`: "ˈ", "%": "ˌ", ".": "", "-": "", "_": "", "~": "\u0303", "_~": "\u0303", "=": "\u0329", "_=": "\u0329", "'": "ʲ", "_j": "ʲ", " ": " ",
}
