package recur

import (
	"strings"
	"unicode"
)

const (
	// chance is how many letters nearly any text has twice.
	chance = 6
	// resaid is how much of its seconds another saying of the same words counts, see Stretch.
	resaid = 0.5
)

// Expect returns the Seconds of [Stretch] that are no surprise in audio of so many seconds
// that says text: what the longest passage that the text has twice, or nearly, makes of them.
func Expect(text string, seconds float64) float64 {
	var letters []rune
	all := 0
	for _, r := range strings.ToLower(text) {
		if unicode.IsLetter(r) || unicode.IsNumber(r) {
			letters = append(letters, r)
			all += weight(r)
		}
	}
	return resaid * seconds * float64(max(0, again(letters)-chance)) / float64(max(1, all))
}

// again returns the weight of the passage that letters have most of before, letters that
// differ between taken off.
func again(letters []rune) (most int) {
	row := make([]int, len(letters)+1) // of the passages that end with a letter and one before it
	for i, r := range letters {
		diagonal := 0
		for j := range i {
			above := row[j+1]
			w := diagonal - 1
			if r == letters[j] {
				w = diagonal + weight(r)
			}
			row[j+1] = max(0, w, row[j]-1, above-1)
			most, diagonal = max(most, row[j+1]), above
		}
	}
	return most
}

// weight is how many Latin letters sound as long as r.
func weight(r rune) int {
	switch {
	case unicode.IsNumber(r):
		return 4
	case unicode.Is(unicode.Han, r):
		return 3
	case unicode.In(r, unicode.Hiragana, unicode.Katakana, unicode.Hangul):
		return 2
	}
	return 1
}
