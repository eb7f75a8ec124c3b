package listen

import (
	"strings"
	"unicode"
)

// A Token is what is compared: a word, a number or a character, in the one form
// that all its spellings share.
type Token struct {
	Text string // of letters and digits only
	Name bool   // may be a name: it has a capital letter where no sentence begins
}

// Tokens returns the tokens of text in a language, a BCP 47 tag. Languages other than
// English get what holds for all of them: no case, no accents, digits as they are.
func Tokens(language, text string) []Token {
	base, _, _ := strings.Cut(strings.ToLower(language), "-")
	words := split(text)
	if base == "en" || base == "" {
		return english(words)
	}
	tokens := make([]Token, 0, len(words))
	for _, w := range words {
		s := fold(w.text)
		if digits(s) { // ten thousands are grouped otherwise everywhere
			s = strings.TrimLeft(s, "0")
			if s == "" {
				s = "0"
			}
		}
		tokens = append(tokens, Token{Text: s, Name: w.name && base != "de"}) // in German every noun has one
	}
	return tokens
}

// word is a word as it was written.
type word struct {
	text   string
	name   bool
	before string // the punctuation in front of it since the last one
	after  rune   // what follows at once, 0 at the end
}

// split cuts text into words. Ideographs and kana are words of their own, since
// nothing says where a word ends; an apostrophe, and a comma or stop between digits, is no end.
func split(text string) []word {
	var words []word
	runes := []rune(text)
	begins, start, gap := true, -1, 0
	end := func(i int) {
		if start < 0 {
			return
		}
		w := word{text: string(runes[start:i]), before: string(runes[gap:start])}
		if i < len(runes) {
			w.after = runes[i]
		}
		w.name = !begins && unicode.IsUpper(runes[start])
		words, begins, start, gap = append(words, w), false, -1, i
	}
	for i, r := range runes {
		switch {
		case ideographic(r):
			end(i)
			start = i
			end(i + 1)
		case unicode.IsLetter(r) || unicode.IsNumber(r) || unicode.Is(unicode.M, r):
			if start < 0 {
				start = i
			}
		case start >= 0 && inner(runes, i):
		default:
			end(i)
			begins = begins || strings.ContainsRune(".!?:…“\"", r)
		}
	}
	end(len(runes))
	return words
}

// inner reports whether the punctuation at i joins what is on both sides.
func inner(runes []rune, i int) bool {
	if i+1 >= len(runes) {
		return false
	}
	before, after := runes[i-1], runes[i+1]
	switch runes[i] {
	case '\'', '’':
		return unicode.IsLetter(before) && unicode.IsLetter(after)
	case ',':
		return unicode.IsDigit(before) && i+3 < len(runes) && unicode.IsDigit(after) && unicode.IsDigit(runes[i+2]) && unicode.IsDigit(runes[i+3])
	case '.':
		return unicode.IsDigit(before) && unicode.IsDigit(after) || i >= 1 && unicode.IsLetter(before) && unicode.IsLetter(after)
	}
	return false
}

func ideographic(r rune) bool {
	return unicode.In(r, unicode.Han, unicode.Hiragana, unicode.Katakana) || r == 'ー'
}

// fold takes case, accents and marks away from s.
func fold(s string) string {
	var b strings.Builder
	for _, r := range strings.ToLower(s) {
		if plain, ok := accents[r]; ok {
			b.WriteString(plain)
			continue
		}
		if unicode.IsLetter(r) || unicode.IsDigit(r) {
			b.WriteRune(r)
		}
	}
	return b.String()
}

func digits(s string) bool {
	return s != "" && strings.IndexFunc(s, func(r rune) bool { return r < '0' || r > '9' }) < 0
}

// accents are the letters of Latin alphabets that recognisers write either way.
var accents = table(map[string]string{
	"a": "àáâãåāăą", "ae": "äæ", "c": "çćč", "d": "ďđð", "e": "èéêëēęě", "g": "ğģ", "i": "ìíîïīı", "l": "ľłĺ", "n": "ñńň",
	"o": "òóôõōő", "oe": "öøœ", "r": "řŕ", "s": "śšşș", "ss": "ß", "t": "ťţț", "u": "ùúûūůű", "ue": "ü", "y": "ýÿ", "z": "źżž", "th": "þ",
})

func table(groups map[string]string) map[rune]string {
	all := map[rune]string{}
	for plain, letters := range groups {
		for _, r := range letters {
			all[r] = plain
		}
	}
	return all
}
