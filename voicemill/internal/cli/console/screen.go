package console

import (
	"fmt"
	"io"
	"strings"

	"github.com/voicemill/voicemill/voicemill/internal/progress"
)

// Screen redraws a few lines in place at the bottom of a terminal. The cursor
// is hidden from the first Draw to Close. It is not safe for concurrent use.
type Screen struct {
	w     io.Writer
	size  func() (cols, rows int)
	drawn []int // columns of each line that stands now
	begun bool
}

// NewScreen returns a screen on w. It asks size before every drawing, so that a
// terminal may change its size at any time.
func NewScreen(w io.Writer, size func() (cols, rows int)) *Screen {
	return &Screen{w: w, size: size}
}

// Width returns the columns that a line may take now: one less than there are,
// because terminals disagree about what erasing does after the last column.
func (s *Screen) Width() int {
	cols, _ := s.size()
	return max(cols-1, 1)
}

// Draw replaces what stands with block. Lines that do not fit are clipped, and
// so are more lines than the terminal has.
func (s *Screen) Draw(block string) {
	cols, rows := s.size()
	lines := strings.Split(block, "\n")
	lines = lines[:min(len(lines), max(rows-1, 1))]
	var b strings.Builder
	if !s.begun {
		s.begun = true
		b.WriteString("\x1b[?25l")
	}
	s.rewind(&b, cols)
	s.drawn = s.drawn[:0]
	for i, line := range lines {
		if i > 0 {
			b.WriteString("\r\n")
		}
		line = progress.Clip(line, s.Width())
		b.WriteString(line + "\x1b[K")
		s.drawn = append(s.drawn, progress.Columns(line))
	}
	b.WriteString("\x1b[J")
	_, _ = io.WriteString(s.w, b.String())
}

// Note writes line above what stands, where it stays.
func (s *Screen) Note(line string) {
	cols, _ := s.size()
	var b strings.Builder
	s.rewind(&b, cols)
	b.WriteString("\x1b[J" + line + "\r\n")
	s.drawn = s.drawn[:0]
	_, _ = io.WriteString(s.w, b.String())
}

// Clear takes away what stands.
func (s *Screen) Clear() {
	cols, _ := s.size()
	var b strings.Builder
	s.rewind(&b, cols)
	b.WriteString("\x1b[J")
	s.drawn = s.drawn[:0]
	_, _ = io.WriteString(s.w, b.String())
}

// Close leaves what stands where it is and gives the cursor back. It may be
// called twice, and on a nil Screen.
func (s *Screen) Close() {
	if s == nil || !s.begun {
		return
	}
	end := "\x1b[?25h"
	if len(s.drawn) > 0 {
		end = "\r\n" + end
	}
	s.begun, s.drawn = false, nil
	_, _ = io.WriteString(s.w, end)
}

// rewind moves the cursor to where the first standing line begins. A terminal
// that became narrower since has wrapped the lines, so they take more rows now.
func (s *Screen) rewind(b *strings.Builder, cols int) {
	up := 0
	for i, n := range s.drawn {
		up += max((n+cols-1)/cols, 1)
		if i == len(s.drawn)-1 {
			up--
		}
	}
	b.WriteString("\r")
	if up > 0 {
		fmt.Fprintf(b, "\x1b[%dA", up)
	}
}
