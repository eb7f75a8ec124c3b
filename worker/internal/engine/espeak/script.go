package espeak

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/voicemill/voicemill/worker/internal/engine"
)

// script is a text as the library gets it, and the way back to the source.
type script struct {
	text     string
	phonemes bool   // [[…]] in text is phonemes
	ranges   []span // for each character of text, the bytes of the source it stands for
}

type span struct{ start, end int }

// compose makes a script of r for a voice of language. Characters are replaced one for one, so that
// positions stay right, except that a pronunciation replaces its whole range.
func compose(r *engine.Request, language string) script {
	var s script
	var b strings.Builder
	pronunciations := convertible(r.Pronunciations, language)
	s.phonemes = len(pronunciations) > 0
	s.ranges = make([]span, 0, len(r.Text))
	for at := 0; at < len(r.Text); {
		if len(pronunciations) > 0 && pronunciations[0].Start == at {
			p := pronunciations[0]
			pronunciations = pronunciations[1:]
			spoken := "[[" + p.Phonemes + "]]"
			b.WriteString(spoken)
			for range utf8.RuneCountInString(spoken) {
				s.ranges = append(s.ranges, span{p.Start, p.End})
			}
			at = p.End
			continue
		}
		c, size := utf8.DecodeRuneInString(r.Text[at:])
		if silent(c) || (c == '[' && s.phonemes) {
			c = ' '
		}
		b.WriteRune(c)
		s.ranges = append(s.ranges, span{at, at + size})
		at += size
	}
	s.text = b.String()
	return s
}

// silent reports whether c must not reach the library: a NUL ends the text
// there, U+0001 starts a command, and private-use characters have a meaning of
// its own.
func silent(c rune) bool {
	switch c {
	case '\n', '\t', '\r':
		return false
	}
	return unicode.In(c, unicode.Cc, unicode.Co, unicode.Noncharacter_Code_Point)
}
