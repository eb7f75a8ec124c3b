package main

import (
	"strings"
	"unicode"

	"golang.org/x/text/unicode/norm"
)

// words returns the words of text in NFKC and lower case, without punctuation.
// In scripts that put no spaces between words every character is a word.
func words(text string) []string {
	var list []string
	var word strings.Builder
	end := func() {
		if word.Len() > 0 {
			list = append(list, word.String())
			word.Reset()
		}
	}
	for _, r := range norm.NFKC.String(strings.Map(visible, text)) {
		r = unicode.ToLower(r)
		switch {
		case single(r):
			end()
			list = append(list, string(r))
		case unicode.IsLetter(r), unicode.IsNumber(r), unicode.IsMark(r):
			word.WriteRune(r)
		default:
			end()
		}
	}
	end()
	return list
}

// visible drops the characters that are inside words and cannot be seen.
func visible(r rune) rune {
	if r == '\u00ad' || r == '\ufffd' || unicode.Is(unicode.Cf, r) && r != '\u200c' && r != '\u200d' {
		return -1
	}
	return r
}

func single(r rune) bool {
	return unicode.In(r, unicode.Han, unicode.Hiragana, unicode.Katakana, unicode.Thai, unicode.Lao, unicode.Khmer, unicode.Myanmar)
}
