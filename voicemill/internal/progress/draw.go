package progress

import (
	"fmt"
	"math"
	"strings"
	"time"
	"unicode"
)

const (
	minWidth = 20 // narrower terminals are drawn as if they were this wide
	minBar   = 5  // a bar below this says nothing
)

// Block draws f as three lines for a terminal of the given width in columns.
// No line is wider, whatever characters the title is made of.
func Block(f Frame, width int) string {
	width = max(width, minWidth)
	title := Clean(f.Title)
	if title == "" {
		title = "job"
	}
	state := "  " + f.State
	lines := []string{
		Clip(title, max(width-Columns(state), 1)) + state,
		Bar(f.Fraction, width),
		counts(f, width),
	}
	return strings.Join(lines, "\n")
}

// Bar draws fraction, 0 to 1, as a bar and a percentage that fill width columns.
func Bar(fraction float64, width int) string {
	fraction = min(1, max(0, fraction))
	if math.IsNaN(fraction) {
		fraction = 0
	}
	bar := max(width-len("[] 100.0%"), minBar)
	full := int(fraction * float64(bar))
	// Rounded down: 100.0% is shown only for what is complete.
	percent := math.Floor(fraction*1000) / 10
	return fmt.Sprintf("[%s%s] %5.1f%%", strings.Repeat("█", full), strings.Repeat("░", bar-full), percent)
}

// Counts says the numbers of f in one line.
func Counts(f Frame) string { return strings.Join(parts(f), "  ") }

// counts is Counts in width columns: what does not fit is left out, the
// least wanted first, and never cut in the middle of a number.
func counts(f Frame, width int) string {
	p := parts(f)
	for len(p) > 1 && Columns(strings.Join(p, "  ")) > width {
		p = append(p[:0:0], p[1:]...)
	}
	return Clip(strings.Join(p, "  "), width)
}

func parts(f Frame) []string {
	p := []string{
		fmt.Sprintf("chapters %d/%d", f.ChaptersReady, f.ChaptersTotal),
		fmt.Sprintf("segments %d/%d", f.SegmentsDone, f.SegmentsTotal),
	}
	if f.SegmentsReused > 0 {
		p = append(p, fmt.Sprintf("reused %d", f.SegmentsReused))
	}
	if f.SegmentsFailed > 0 {
		p = append(p, fmt.Sprintf("failed %d", f.SegmentsFailed))
	}
	p = append(p, "audio "+Clock(f.AudioSeconds))
	switch {
	case f.Speed >= 10:
		p = append(p, fmt.Sprintf("speed %.0f×", f.Speed))
	case f.Speed > 0:
		p = append(p, fmt.Sprintf("speed %.1f×", f.Speed))
	}
	if f.Remain > 0 {
		p = append(p, "ETA "+Clock(f.Remain.Seconds()))
	}
	return p
}

// Line says f in one plain line, for a log or a pipe.
func Line(f Frame) string {
	return fmt.Sprintf("%s %s %.1f%% %s", f.At.UTC().Format(time.RFC3339), f.State, math.Floor(f.Fraction*1000)/10, Counts(f))
}

// Clock writes seconds as m:ss, or h:mm:ss from an hour on.
func Clock(seconds float64) string {
	s := int64(max(seconds, 0) + 0.5)
	if s >= 3600 {
		return fmt.Sprintf("%d:%02d:%02d", s/3600, s/60%60, s%60)
	}
	return fmt.Sprintf("%d:%02d", s/60, s%60)
}

// Clean makes text that came from elsewhere safe for a terminal: control and
// format characters, which could move the cursor or turn the reading order
// around, are gone, and every run of white space is one space.
func Clean(s string) string {
	s = strings.Map(func(r rune) rune {
		switch {
		case unicode.IsSpace(r):
			return ' '
		case unicode.In(r, unicode.Cc, unicode.Cf), r == unicode.ReplacementChar:
			return -1
		}
		return r
	}, s)
	return strings.Join(strings.Fields(s), " ")
}

// Clip shortens s to at most width columns; an ellipsis shows that it did.
func Clip(s string, width int) string {
	if Columns(s) <= width {
		return s
	}
	used := 0
	for i, r := range s {
		w := runeColumns(r)
		if used+w > width-1 {
			return s[:i] + "…"
		}
		used += w
	}
	return s
}

// Columns returns how many columns of a terminal s takes.
func Columns(s string) int {
	n := 0
	for _, r := range s {
		n += runeColumns(r)
	}
	return n
}

// wide lists the first and last characters of the blocks whose characters take
// two columns (Unicode Standard Annex 11, W and F).
var wide = [...][2]rune{
	{0x1100, 0x115f},
	{0x2e80, 0x303e},
	{0x3041, 0xa4cf},
	{0xa960, 0xa97f},
	{0xac00, 0xd7a3},
	{0xf900, 0xfaff},
	{0xfe30, 0xfe6f},
	{0xff00, 0xff60},
	{0xffe0, 0xffe6},
	{0x16fe0, 0x1b2ff},
	{0x1f300, 0x1f64f},
	{0x1f680, 0x1f6ff},
	{0x1f900, 0x1faff},
	{0x20000, 0x3fffd},
}

func runeColumns(r rune) int {
	switch {
	case r < 0x300:
		return 1
	case unicode.In(r, unicode.Mn, unicode.Me):
		return 0
	}
	for _, block := range wide {
		if block[0] <= r && r <= block[1] {
			return 2
		}
	}
	return 1
}
