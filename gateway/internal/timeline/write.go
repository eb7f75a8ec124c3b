package timeline

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"strings"
	"unicode/utf8"
)

// Timeline is a manifest that was read up to the first chapter that is wanted.
type Timeline struct {
	in     reader
	head   head
	first  chapter
	wanted int
}

// Open reads the beginning of a manifest. wanted is the ordinal of the only chapter
// that is told of, or 0 for all; it is [ErrNoChapter] if there is none. Any
// other error says that the manifest cannot be read.
func Open(manifest io.Reader, wanted int) (*Timeline, error) {
	t := &Timeline{in: reader{json.NewDecoder(manifest)}, wanted: wanted}
	if err := t.in.members("chapters", &t.head); err != nil {
		return nil, fmt.Errorf("read the manifest: %w", err)
	}
	var ok bool
	var err error
	if t.first, ok, err = t.in.chapter(wanted); err != nil {
		return nil, fmt.Errorf("read the manifest: %w", err)
	}
	if !ok {
		return nil, ErrNoChapter
	}
	return t, nil
}

// Write writes the document, once. After an error it is not complete.
func (t *Timeline) Write(to io.Writer) error {
	w := &writer{Writer: bufio.NewWriter(to)}
	w.open(t.head, "chapters")
	c, ok, err := t.first, true, error(nil)
	for ok {
		if err = t.chapter(w, c); err != nil || t.wanted > 0 {
			break
		}
		c, ok, err = t.in.chapter(0)
	}
	if err != nil {
		return fmt.Errorf("read the manifest: %w", err)
	}
	w.string("\n]}\n")
	return w.Flush()
}

// chapter writes one chapter.
func (t *Timeline) chapter(w *writer, c chapter) error {
	w.separate()
	w.open(timedChapter{c.Ordinal, c.Title, c.Artifact, c.StartSeconds, c.AudioSeconds}, "segments")
	for t.in.dec.More() {
		var g segment
		if err := t.in.dec.Decode(&g); err != nil {
			return err
		}
		w.separate()
		w.value(g.timed(c.SampleRate))
	}
	w.string("]}")
	w.comma = true
	return t.in.leave()
}

// The members of the document, as api/openapi.yaml has them.
type (
	timedChapter struct {
		Ordinal      int     `json:"ordinal"`
		Title        string  `json:"title"`
		Artifact     string  `json:"artifact,omitempty"`
		StartSeconds float64 `json:"start_seconds"`
		AudioSeconds float64 `json:"audio_seconds,omitempty"`
	}
	timedSegment struct {
		N         int             `json:"n"`
		Voice     string          `json:"voice"`
		Language  string          `json:"language"`
		Start     *float64        `json:"start_seconds,omitempty"`
		End       *float64        `json:"end_seconds,omitempty"`
		Measured  *bool           `json:"measured,omitempty"`
		Source    json.RawMessage `json:"source,omitempty"`
		Sentences []timedSentence `json:"sentences"`
	}
	timedSentence struct {
		Text  string      `json:"text"`
		Start *float64    `json:"start_seconds,omitempty"`
		End   *float64    `json:"end_seconds,omitempty"`
		Words []timedWord `json:"words,omitempty"`
	}
	timedWord struct {
		Text  string  `json:"text"`
		Start float64 `json:"start_seconds"`
	}
)

// timed counts a segment in seconds; without audio it has none.
func (g *segment) timed(rate int) timedSegment {
	s := timedSegment{N: g.N, Voice: g.Voice, Language: g.Language, Source: g.Source}
	if g.StartSample == nil || rate <= 0 {
		s.Sentences = []timedSentence{{Text: g.Text}}
		return s
	}
	at := func(sample int64) float64 { return math.Round(float64(sample)/float64(rate)*1e6) / 1e6 }
	start, end := at(*g.StartSample), at(*g.StartSample+g.Samples)
	s.Start, s.End = &start, &end
	if len(g.Words) > 0 {
		measured := g.WordsBy != "proportion"
		s.Measured = &measured
	}
	sentences := g.Sentences
	if !within(sentences, g.Text) || len(sentences) == 0 {
		sentences = []mark{{0, int64(len(g.Text)), *g.StartSample}}
	}
	words := g.Words
	if !within(words, g.Text) {
		words = nil
	}
	for i, m := range sentences {
		from, to, begins, ends := m[0], int64(len(g.Text)), at(m[2]), end
		if i == 0 {
			from = 0
		}
		if i+1 < len(sentences) {
			to, ends = sentences[i+1][0], at(sentences[i+1][2])
		}
		one := timedSentence{Text: strings.TrimSpace(g.Text[from:to]), Start: &begins, End: &ends}
		for len(words) > 0 && (words[0][0] < to || i+1 == len(sentences)) {
			one.Words = append(one.Words, timedWord{g.Text[words[0][0]:words[0][1]], at(words[0][2])})
			words = words[1:]
		}
		s.Sentences = append(s.Sentences, one)
	}
	return s
}

// within reports whether marks are stretches of text, in order.
func within(marks []mark, text string) bool {
	last := int64(0)
	for _, m := range marks {
		if m[0] < last || m[1] < m[0] || m[1] > int64(len(text)) || m[0] < int64(len(text)) && !utf8.RuneStart(text[m[0]]) {
			return false
		}
		last = m[0]
	}
	return true
}

// writer writes JSON whose lists are written element by element. It keeps the first
// error, as a bufio.Writer does.
type writer struct {
	*bufio.Writer
	comma bool
	buf   bytes.Buffer
}

func (w *writer) string(s string) { _, _ = w.WriteString(s) }

// open writes v, a struct, with an open list called list as its last member.
func (w *writer) open(v any, list string) {
	raw := w.encode(v)
	_, _ = fmt.Fprintf(w, "%s,%q:[", raw[:len(raw)-1], list)
	w.comma = false
}

// separate begins an element.
func (w *writer) separate() {
	if w.comma {
		w.string(",")
	}
	w.string("\n")
	w.comma = true
}

func (w *writer) value(v any) { _, _ = w.Write(w.encode(v)) }

// encode returns v as JSON without escaping what only HTML minds, until the next call.
func (w *writer) encode(v any) []byte {
	w.buf.Reset()
	e := json.NewEncoder(&w.buf)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		panic("bug: a timeline cannot be encoded: " + err.Error())
	}
	return bytes.TrimRight(w.buf.Bytes(), "\n")
}
