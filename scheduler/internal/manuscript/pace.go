package manuscript

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// leadSeconds is the silence that every utterance carries besides its words.
const leadSeconds = 0.2

// digitWeight is how many characters a digit stands for when it is spoken:
// "1984" is 21 characters in words, "12" is 6.
const digitWeight = 4

// freeMarks is how many combining marks sound with their letter. Scripts that
// are read aloud need three; what is piled higher weighs like letters, so that
// no text is without weight.
const freeMarks = 4

// Characters a second by language, measured for English (LJ Speech: 1,308,678
// characters in 23:55:17) and set from it by syllables a character elsewhere.
var pace = map[string]float64{
	"en": 15.2, "de": 14.8, "nl": 15, "sv": 14.5, "da": 14.5, "nb": 14.5, "nn": 14.5, "no": 14.5, "is": 14,
	"fr": 15.5, "es": 15.8, "it": 15.5, "pt": 15.3, "ca": 15.3, "ro": 15, "la": 14, "el": 14.5,
	"ru": 14, "uk": 14, "bg": 14, "pl": 14, "cs": 13.5, "sk": 13.5, "hr": 14, "sr": 14, "sl": 14,
	"hu": 13.5, "fi": 14, "et": 14, "lt": 14, "lv": 14, "tr": 14, "id": 15, "ms": 15, "vi": 13.5, "sw": 14.5,
	"ar": 13, "fa": 13, "ur": 13, "he": 11, "hi": 13, "bn": 13, "ta": 13, "te": 13, "th": 12,
	"zh": 5, "ja": 6, "ko": 5.8,
}

// CharsPerSecond returns the built-in pace of speech in lang, a BCP 47 tag:
// characters, spaces and punctuation included, a second. Languages without a
// figure of their own get 14.
func CharsPerSecond(lang string) float64 {
	if cps, ok := pace[primary(lang)]; ok {
		return cps
	}
	return 14
}

// primary returns the language subtag of lang in lower case.
func primary(lang string) string {
	if i := strings.IndexAny(lang, "-_"); i >= 0 {
		lang = lang[:i]
	}
	return strings.ToLower(lang)
}

// A meter predicts seconds of audio for text of one language.
type meter struct {
	perLetter   float64 // seconds of a letter of an alphabet
	perSyllable float64 // seconds of a Han character, a kana or a Hangul syllable
}

// newMeter returns the meter for lang. In a language written in characters the
// pace is that of characters and letters go at the English pace; elsewhere the
// other way round.
func newMeter(lang string, charsPerSecond func(string) float64) meter {
	cps := charsPerSecond(lang)
	if !(cps > 0) { // also NaN
		cps = CharsPerSecond(lang)
	}
	if spaceless(lang) || primary(lang) == "ko" {
		return meter{perLetter: 1 / pace["en"], perSyllable: 1 / cps}
	}
	return meter{perLetter: 1 / cps, perSyllable: 1 / 5.5}
}

// weigh returns the seconds of text without the lead.
func (m meter) weigh(text string) float64 {
	letters, syllables, marks := 0.0, 0.0, 0
	for i := 0; i < len(text); {
		if c := text[i]; c < utf8.RuneSelf {
			letters += asciiWeight[c]
			i++
			marks = 0
			continue
		}
		r, n := utf8.DecodeRuneInString(text[i:])
		i += n
		if r >= 0x300 && unicode.Is(unicode.Mn, r) {
			if marks++; marks > freeMarks {
				letters++
			}
			continue
		}
		marks = 0
		switch {
		case r < 0x300:
			letters++
		case syllabic(r):
			syllables++
		case unicode.IsDigit(r):
			letters += digitWeight
		default:
			letters++
		}
	}
	return letters*m.perLetter + syllables*m.perSyllable
}

// asciiWeight is the weight of each ASCII character in letters; symbols that
// are spoken as a word weigh as one.
var asciiWeight = func() (w [utf8.RuneSelf]float64) {
	for c := range w {
		w[c] = 1
	}
	for c := '0'; c <= '9'; c++ {
		w[c] = digitWeight
	}
	for _, c := range "%$&@#+=" {
		w[c] = 6
	}
	return w
}()

// syllabic reports whether r is one of the characters that are about a
// syllable each, punctuation of their width included.
func syllabic(r rune) bool {
	return r >= 0x1100 && (r <= 0x11ff || // Hangul letters
		r >= 0x2e80 && r <= 0xa4cf || // CJK, kana, Yi, CJK punctuation
		r >= 0xac00 && r <= 0xd7a3 || // Hangul syllables
		r >= 0xf900 && r <= 0xfaff || // compatibility ideographs
		r >= 0xff00 && r <= 0xffef || // full width forms
		r >= 0x1b000 && r <= 0x1b2ff || // historic kana
		r >= 0x20000 && r <= 0x3ffff) // rare ideographs
}

// spaceless reports whether lang puts no spaces between words.
func spaceless(lang string) bool {
	switch primary(lang) {
	case "zh", "ja", "yue", "th", "lo", "km", "my":
		return true
	}
	return false
}

// unspaced reports whether r belongs to a script that puts no spaces between
// words, so that a text may be cut beside it.
func unspaced(r rune) bool {
	hangul := r >= 0xac00 && r <= 0xd7a3 || r >= 0x1100 && r <= 0x11ff
	return syllabic(r) && !hangul ||
		r >= 0x0e00 && r <= 0x0eff || // Thai, Lao
		r >= 0x1000 && r <= 0x109f || // Myanmar
		r >= 0x1780 && r <= 0x17ff // Khmer
}
