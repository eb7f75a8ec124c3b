package subtitle

import (
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/voicemill/voicemill/worker/internal/timeline"
)

// The bounds of a cue.
const (
	lineColumns = 42
	cueLines    = 2
	shortest    = time.Second
	longest     = 7 * time.Second
)

// Word is a word with its punctuation, and the space behind it unless a line ends.
type Word struct {
	Text  string
	Start time.Duration
}

// Cue is what stands on the screen at a time.
type Cue struct {
	Start, End time.Duration
	Lines      [][]Word // none is empty
}

// Segment is a segment of a chapter with the times of a book or of the chapter alone.
type Segment struct {
	Words  []timeline.Word // in order
	End    int64           // sample at which its sound ends
	Rate   int             // Hz
	Offset time.Duration   // when the chapter begins
}

// Cutter cuts segments into cues and hands them to emit, in order and without overlap.
type Cutter struct {
	emit func(Cue) error
	held *Cue // the last one, which may stay longer if the next one comes late
}

// NewCutter returns a Cutter that hands its cues to emit.
func NewCutter(emit func(Cue) error) *Cutter { return &Cutter{emit: emit} }

// Add cuts one segment; segments come in the order in which they sound.
func (c *Cutter) Add(s Segment) error {
	end := s.Offset + timeline.Time(s.End, s.Rate)
	words := s.words()
	for len(words) > 0 {
		n := cut(words, end)
		cue := Cue{Start: words[0].Start, End: end}
		if n < len(words) {
			cue.End = words[n].Start
		}
		for _, w := range words[:n] {
			cue.add(w.Word)
		}
		cue.trim()
		if err := c.hold(cue); err != nil {
			return err
		}
		words = words[n:]
	}
	return nil
}

// Close hands over the last cue. The file goes on until end.
func (c *Cutter) Close(end time.Duration) error {
	if c.held == nil {
		return nil
	}
	cue := *c.held
	c.held = nil
	cue.End = max(cue.End, min(cue.Start+shortest, end))
	if cue.End <= cue.Start {
		return nil // a mark at the very end, and no silence behind it
	}
	return c.emit(cue)
}

// hold keeps cue back and hands over the one before it.
func (c *Cutter) hold(cue Cue) error {
	if err := c.Close(cue.Start); err != nil {
		return err
	}
	c.held = &cue
	return nil
}

// word is a word with what cutting needs to know of it.
type word struct {
	Word
	columns  int  // without the space behind it
	sentence bool // a sentence begins with it
	clause   bool // a clause ends with it
}

func (s *Segment) words() []word {
	words := make([]word, 0, len(s.Words))
	for _, w := range s.Words {
		text := strings.Join(strings.Fields(w.Text), " ")
		if text == "" {
			continue
		}
		last, _ := utf8.DecodeLastRuneInString(strings.TrimRight(text, `"'”’»)]`))
		one := word{
			Word:    Word{Text: text, Start: s.Offset + timeline.Time(w.Sample, s.Rate)},
			columns: columns(text), sentence: w.Sentence, clause: strings.ContainsRune(",;:.!?…—–、，。；：！？", last),
		}
		if r, _ := utf8.DecodeLastRuneInString(w.Text); unicode.IsSpace(r) {
			one.Text += " "
		}
		words = append(words, one)
	}
	return words
}

// columns is how wide a text is.
func columns(text string) (n int) {
	for _, r := range text {
		switch {
		case timeline.Wide(r):
			n += 2
		case !unicode.Is(unicode.Mn, r):
			n++
		}
	}
	return n
}

// cut returns how many of words, which end at end, make the next cue: all of the
// sentence if it fits, else up to the last clause in its second half, else as many as fit.
func cut(words []word, end time.Duration) int {
	fits, clause := 1, 0
	var lines lines
	lines.add(words[0])
	for ; fits < len(words); fits++ {
		w := words[fits]
		if w.sentence && w.Start-words[0].Start >= shortest {
			return fits
		}
		if after(words, fits, end)-words[0].Start > longest || !lines.add(w) {
			break
		}
	}
	if fits == len(words) {
		return fits
	}
	for i := fits - 1; i >= fits/2; i-- {
		if words[i].clause || words[i+1].sentence {
			clause = i + 1
			break
		}
	}
	if clause > 0 {
		return clause
	}
	return fits
}

// after is when words[i] has been spoken.
func after(words []word, i int, end time.Duration) time.Duration {
	if i+1 < len(words) {
		return words[i+1].Start
	}
	return end
}

// lines counts how the words of a cue break into lines.
type lines struct {
	full    int // lines before this one
	columns int
	space   int // behind the last word
}

// add puts a word into the line or the next one; false if the cue is full.
func (l *lines) add(w word) bool {
	if l.columns > 0 && l.columns+l.space+w.columns > lineColumns {
		if l.full+1 == cueLines {
			return false
		}
		l.full, l.columns, l.space = l.full+1, 0, 0
	}
	l.columns += l.space + w.columns
	l.space = len(w.Text) - len(strings.TrimRight(w.Text, " "))
	return true
}

// add puts a word into the last line if it fits, else into one of its own.
func (c *Cue) add(w Word) {
	last := len(c.Lines) - 1
	if last < 0 {
		c.Lines = [][]Word{{w}}
		return
	}
	line := c.Lines[last]
	width := columns(strings.TrimRight(w.Text, " "))
	for _, before := range line {
		width += columns(before.Text)
	}
	if width <= lineColumns {
		c.Lines[last] = append(line, w)
		return
	}
	c.trim()
	c.Lines = append(c.Lines, []Word{w})
}

// trim takes the space from the end of the last line.
func (c *Cue) trim() {
	line := c.Lines[len(c.Lines)-1]
	end := &line[len(line)-1]
	end.Text = strings.TrimRight(end.Text, " ")
}

// words returns the words of all lines.
func (c *Cue) words() []Word { return slices.Concat(c.Lines...) }
