package espeak

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/voicemill/voicemill/worker/internal/engine"
	"github.com/voicemill/voicemill/worker/internal/engine/helper/wire"
)

// marks turns the library's events into byte ranges of source, which s was
// composed from. Ranges are in order and do not overlap; sample positions do not
// decrease. A number that the library speaks as several words is one mark.
func (s script) marks(source string, events []wire.Event) (sentences, words []engine.Mark) {
	for _, e := range events {
		first := int(e.Position) - 1
		if first < 0 || first >= len(s.ranges) {
			continue
		}
		switch e.Kind {
		case wire.EventSentence:
			sentences = addSentence(sentences, source, engine.Mark{Start: s.ranges[first].start, Sample: e.Sample})
		case wire.EventWord:
			last := min(first+max(int(e.Length), 1), len(s.ranges)) - 1
			words = addWord(words, source, engine.Mark{Start: s.ranges[first].start, End: s.ranges[last].end, Sample: e.Sample})
		}
	}
	if len(sentences) == 0 {
		sentences = addSentence(nil, source, engine.Mark{})
	}
	for i := range sentences {
		end := len(source)
		if i+1 < len(sentences) {
			end = sentences[i+1].Start
		}
		sentences[i].End = sentences[i].Start + len(strings.TrimRightFunc(source[sentences[i].Start:end], unicode.IsSpace))
	}
	return sentences, words
}

func addSentence(sentences []engine.Mark, source string, m engine.Mark) []engine.Mark {
	if len(sentences) == 0 {
		m.Start = 0 // what comes before the first sentence belongs to it
	}
	m.Start = skipSpace(source, m.Start)
	if m.Start >= len(source) {
		return sentences
	}
	if n := len(sentences); n > 0 && (m.Start <= sentences[n-1].Start || m.Sample < sentences[n-1].Sample) {
		return sentences
	}
	return append(sentences, m)
}

func addWord(words []engine.Mark, source string, m engine.Mark) []engine.Mark {
	m.End = wordEnd(source, m.Start, m.End)
	m.Start = skipSpace(source, m.Start)
	if m.Start >= m.End {
		return words
	}
	if n := len(words); n > 0 {
		last := &words[n-1]
		if m.Start < last.End {
			last.End = max(last.End, m.End)
			return words
		}
		m.Sample = max(m.Sample, last.Sample)
	}
	return append(words, m)
}

func skipSpace(s string, at int) int {
	return at + len(s[at:]) - len(strings.TrimLeftFunc(s[at:], unicode.IsSpace))
}

// wordEnd corrects the end of the word that begins at start: in front of
// punctuation that the library counts in, behind letters and digits that follow
// directly, since it ends "didn't" before the apostrophe. Scripts without spaces
// are left as it cut them.
func wordEnd(s string, start, end int) int {
	if trimmed := len(strings.TrimRightFunc(s[start:end], apart)); trimmed > 0 {
		end = start + trimmed
	}
	last, _ := utf8.DecodeLastRuneInString(s[:end])
	for inWord(last) && end < len(s) {
		c, size := utf8.DecodeRuneInString(s[end:])
		if c == '\'' || c == '’' {
			after, afterSize := utf8.DecodeRuneInString(s[end+size:])
			if !inWord(after) {
				return end
			}
			c, size = after, size+afterSize
		}
		if !inWord(c) {
			return end
		}
		last, end = c, end+size
	}
	return end
}

// apart reports whether c stands between words.
func apart(c rune) bool { return unicode.IsSpace(c) || unicode.IsPunct(c) }

func inWord(c rune) bool {
	return (unicode.IsLetter(c) || unicode.IsNumber(c) || unicode.IsMark(c)) &&
		!unicode.In(c, unicode.Han, unicode.Hiragana, unicode.Katakana, unicode.Thai, unicode.Lao, unicode.Khmer, unicode.Myanmar)
}
