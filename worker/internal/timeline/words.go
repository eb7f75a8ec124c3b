package timeline

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Mark is a stretch of a segment's text and when it begins to sound: the first
// byte, the one behind the last, and a sample.
type Mark [3]int64

// Marks are what an engine told of one segment, or what was spread by letters.
type Marks struct {
	Sentences []Mark `json:"sentences"`
	Words     []Mark `json:"words"`
	WordsBy   string `json:"words_by"` // proportion: no measurement
}

// ReadMarks reads the marks that are stored with a rendition, whose samples count
// from its beginning, and places them in the file of its chapter, where it begins
// at sample start. There may be none (nil).
func ReadMarks(raw []byte, start int64) (m Marks, err error) {
	if raw == nil {
		return m, nil
	}
	if err := json.Unmarshal(raw, &m); err != nil {
		return m, fmt.Errorf("read marks: %w", err)
	}
	for _, list := range [][]Mark{m.Sentences, m.Words} {
		for i := range list {
			list[i][2] += start
		}
	}
	return m, nil
}

// Hold has no mark before sample from or behind sample to: what was silent there is
// not in the file.
func (m *Marks) Hold(from, to int64) {
	for _, list := range [][]Mark{m.Sentences, m.Words} {
		for i := range list {
			list[i][2] = min(max(list[i][2], from), to)
		}
	}
}

// Word is a word with what belongs to it: the punctuation around it and the space behind.
type Word struct {
	Text     string
	Sample   int64 // of the chapter's file at which it begins to sound
	Sentence bool  // whether a sentence begins with it
}

// Words cuts text into words, whose texts make up all of it, each with its time
// out of m. The segment sounds from sample start on for so many samples. Without
// marks of words, or with such that cannot be (not in order, outside of the
// text), the words are spread over the sound by their letters.
func Words(text string, m Marks, start, samples int64) []Word {
	bounds, times := fromMarks(text, m.Words, start, samples)
	if bounds == nil {
		bounds, times = spread(text, start, samples)
	}
	words := make([]Word, len(times))
	next := 0
	for i := range words {
		words[i] = Word{Text: text[bounds[i]:bounds[i+1]], Sample: times[i]}
		for next < len(m.Sentences) && m.Sentences[next][0] < int64(bounds[i+1]) {
			words[i].Sentence = true
			next++
		}
	}
	if len(words) > 0 {
		words[0].Sentence = words[0].Sentence || len(m.Sentences) == 0
	}
	return words
}

// fromMarks returns where the words begin, with the end of text behind them, and
// when. Space belongs to the word before it, an opening quote to the one behind.
func fromMarks(text string, marks []Mark, start, samples int64) (bounds []int, times []int64) {
	end, last := int64(0), start
	for i, w := range marks {
		if w[0] < end || w[1] <= w[0] || w[1] > int64(len(text)) || w[2] < last || w[2] > start+samples ||
			!utf8.RuneStart(text[w[0]]) || w[1] < int64(len(text)) && !utf8.RuneStart(text[w[1]]) {
			return nil, nil
		}
		bound := 0
		if i > 0 {
			between := text[end:w[0]]
			bound = int(end) + len(strings.TrimRightFunc(between, func(r rune) bool { return !unicode.IsSpace(r) }))
			if !strings.ContainsFunc(between, unicode.IsSpace) {
				bound = int(w[0])
			}
		}
		bounds, times = append(bounds, bound), append(times, w[2])
		end, last = w[1], w[2]
	}
	if bounds == nil {
		return nil, nil
	}
	return append(bounds, len(text)), times
}

// spread cuts text behind its spaces, and between wide letters, which have none,
// and gives each letter the same time.
func spread(text string, start, samples int64) (bounds []int, times []int64) {
	letters := make([]int64, 0, len(text)/4) // before each word
	total, inWord, split := int64(0), false, true
	for i, r := range text {
		switch {
		case unicode.IsSpace(r):
			split = split || inWord
		case split || Wide(r) && inWord && unicode.IsLetter(r):
			bounds, letters = append(bounds, i), append(letters, total)
			inWord, split = true, false
		}
		if unicode.IsLetter(r) || unicode.IsNumber(r) {
			total++
		}
	}
	if bounds == nil {
		return nil, nil
	}
	bounds[0] = 0
	for _, n := range letters {
		times = append(times, start+samples*n/max(total, 1))
	}
	return append(bounds, len(text)), times
}

// Wide reports whether a letter is of a script without spaces, whose letters are
// two columns wide.
func Wide(r rune) bool {
	return unicode.In(r, unicode.Han, unicode.Hiragana, unicode.Katakana) || r >= 0x3000 && r <= 0x303F || r >= 0xFF01 && r <= 0xFF60
}

// Time returns when a sample at rate Hz sounds, to the nanosecond.
func Time(sample int64, rate int) time.Duration {
	hz := int64(rate)
	return time.Duration(sample/hz)*time.Second + time.Duration(sample%hz*int64(time.Second)/hz)
}
