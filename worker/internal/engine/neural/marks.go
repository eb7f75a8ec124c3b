package neural

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/voicemill/voicemill/worker/internal/engine"
	"github.com/voicemill/voicemill/worker/internal/engine/helper/wire"
)

// quiet is below what is heard of a sample of speech.
const quiet = 330 // 1 % of the loudest

// marks returns when the sentences of s begin, from the helper's events, and when
// their words would if every letter took the same time.
func (s script) marks(source string, events []wire.Event, samples []int16) (sentences, words []engine.Mark) {
	for i, e := range events {
		n := int(e.Position) - 1
		if e.Kind != wire.EventSentence || n < 0 || n >= len(s.ranges) || e.Sample > int64(len(samples)) {
			continue
		}
		m := trimmed(source, s.ranges[n])
		m.Sample = e.Sample
		if last := len(sentences) - 1; m.Start >= m.End || last >= 0 && (m.Start < sentences[last].End || m.Sample < sentences[last].Sample) {
			continue
		}
		end := int64(len(samples))
		if i+1 < len(events) {
			end = min(max(events[i+1].Sample, m.Sample), end)
		}
		sentences = append(sentences, m)
		words = append(words, place(source, m, samples[m.Sample:end])...)
	}
	return sentences, words
}

// trimmed returns the bytes of at without the space around them.
func trimmed(source string, at span) engine.Mark {
	text := source[at.start:at.end]
	left := len(text) - len(strings.TrimLeftFunc(text, unicode.IsSpace))
	return engine.Mark{Start: at.start + left, End: at.start + max(len(strings.TrimRightFunc(text, unicode.IsSpace)), left)}
}

// pauses are how long a mark within a sentence is heard, in letters.
var pauses = map[rune]float64{',': 3, ';': 4, ':': 4, '—': 4, '–': 4, '…': 5}

// place spreads the words of a sentence over its sound, in proportion to their
// letters. Scripts without spaces have none.
func place(source string, sentence engine.Mark, sound []int16) []engine.Mark {
	from, to := heard(sound)
	var words []engine.Mark
	var at []float64 // letters before each word
	letters := 0.0
	text := source[:sentence.End]
	for i := sentence.Start; i < len(text); {
		r, size := utf8.DecodeRuneInString(text[i:])
		if !inWord(r) {
			letters += pauses[r]
			i += size
			continue
		}
		end := wordEnd(text, i)
		words = append(words, engine.Mark{Start: i, End: end})
		at = append(at, letters)
		letters += float64(utf8.RuneCountInString(text[i:end])) + 1
		i = end
	}
	for i := range words {
		words[i].Sample = sentence.Sample + int64(from) + int64(at[i]/max(letters, 1)*float64(to-from))
	}
	return words
}

// heard returns where sound begins and ends to be more than quiet.
func heard(sound []int16) (from, to int) {
	for from < len(sound) && sound[from] < quiet && sound[from] > -quiet {
		from++
	}
	for to = len(sound); to > from && sound[to-1] < quiet && sound[to-1] > -quiet; {
		to--
	}
	return from, to
}

func wordEnd(text string, at int) int {
	for at < len(text) {
		r, size := utf8.DecodeRuneInString(text[at:])
		if (r == '\'' || r == '’' || r == '-') && at+size < len(text) && inWord(first(text[at+size:])) {
			at += size
			continue
		}
		if !inWord(r) {
			break
		}
		at += size
	}
	return at
}

func inWord(r rune) bool {
	return (unicode.IsLetter(r) || unicode.IsNumber(r) || unicode.IsMark(r)) &&
		!unicode.In(r, unicode.Han, unicode.Hiragana, unicode.Katakana, unicode.Thai, unicode.Lao, unicode.Khmer, unicode.Myanmar)
}
