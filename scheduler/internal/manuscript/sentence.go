package manuscript

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/clipperhouse/uax29/v2/sentences"
)

// sentenceEnds appends where the sentences of text end, the end of text
// included: the boundaries of Unicode Annex 29, less those that follow an
// abbreviation, an initial, an ordinal or a quotation that goes on.
func sentenceEnds(text, lang string, ends []int) []int {
	lang = primary(lang)
	it := sentences.FromString(text)
	for it.Next() {
		if end := it.End(); end < len(text) && endsSentence(text[:end], text[end:], lang) {
			ends = append(ends, end)
		}
	}
	return append(ends, len(text))
}

// endsSentence reports whether a sentence ends between before and after.
func endsSentence(before, after, lang string) bool {
	if goesOn(after) {
		return false
	}
	trimmed := strings.TrimRight(before, " ")
	if last, _ := utf8.DecodeLastRuneInString(trimmed); closingCJK(last) {
		next, _ := utf8.DecodeRuneInString(after)
		return !unicode.Is(unicode.Hiragana, next) && next != '、' && next != '，'
	}
	quoted := strings.TrimRight(trimmed, "\"'”’»)]")
	if !strings.HasSuffix(quoted, ".") {
		return true
	}
	const longest = 64 // bytes of a word that may be an abbreviation
	cut := max(0, len(quoted)-1-longest)
	word := quoted[cut : len(quoted)-1]
	if i := strings.LastIndexAny(word, " \"'“‘«([—–"); i >= 0 {
		_, n := utf8.DecodeRuneInString(word[i:])
		word = word[i+n:]
	}
	return !abbreviated(word, after, lang, cut == 0 && len(word) == len(quoted)-1)
}

// goesOn reports whether after begins, quotes and dashes aside, with a small letter.
func goesOn(after string) bool {
	for i, r := range after {
		switch {
		case unicode.IsLower(r):
			return true
		case unicode.IsLetter(r), unicode.IsDigit(r), i > 8:
			return false
		}
	}
	return false
}

func closingCJK(r rune) bool {
	switch r {
	case '」', '』', '）', '”', '’':
		return true
	}
	return false
}

// abbreviated reports whether the full stop after word belongs to the word.
// first says that word begins the text.
func abbreviated(word, after, lang string, first bool) bool {
	if word == "" {
		return false
	}
	next := nextWord(after)
	if isDigits(word) {
		return first || ordinals[lang] && len(word) <= 2
	}
	if utf8.RuneCountInString(word) == 1 {
		if r, _ := utf8.DecodeRuneInString(word); unicode.IsUpper(r) {
			return first || word != "I" || lang != "en"
		}
	}
	if strings.Contains(word, ".") && shortParts(word) {
		return lang != "en" || !starters[next]
	}
	if first && romanNumeral(word) {
		return true
	}
	key := strings.ToLower(word)
	if list, ok := abbreviations[lang]; ok {
		switch list[key] {
		case anywhere:
			return true
		case beforeNumber:
			return numeral(next)
		case never:
		}
	}
	return false
}

// nextWord returns the word that after begins with.
func nextWord(after string) string {
	after = strings.TrimLeft(after, " \"'“‘«(")
	if i := strings.IndexAny(after, " ,.;:!?’'\"”"); i >= 0 {
		after = after[:i]
	}
	return after
}

func isDigits(s string) bool {
	return s != "" && strings.Trim(s, "0123456789") == ""
}

func romanNumeral(s string) bool {
	return s != "" && strings.Trim(s, "IVXLCDM") == ""
}

func numeral(s string) bool {
	return s != "" && (unicode.IsDigit(rune(s[0])) || romanNumeral(s))
}

// shortParts reports whether word is letters with full stops between, as "U.S".
func shortParts(word string) bool {
	for part := range strings.SplitSeq(word, ".") {
		if n := utf8.RuneCountInString(part); n == 0 || n > 2 {
			return false
		}
	}
	return true
}
