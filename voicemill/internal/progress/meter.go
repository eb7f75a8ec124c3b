// Package progress turns snapshots of a job into what a person wants to see:
// how far it is, how fast, and when it ends. It is pure: it draws into strings
// and reads no clock, so that the command decides when and where to print.
package progress

import (
	"fmt"
	"strings"
	"time"
)

// Snapshot is the state of a job at one moment.
type Snapshot struct {
	At             time.Time
	Title          string // may be empty
	State          string
	SegmentsTotal  int
	SegmentsDone   int // with those reused
	SegmentsReused int
	SegmentsFailed int
	ChaptersTotal  int
	ChaptersReady  int
	AudioSeconds   float64
	Fraction       float64 // 0 to 1
}

// Meter remembers where a job stood when it was first seen and derives speed
// and remaining time. The zero value is ready to use; it is not safe for
// concurrent use.
type Meter struct {
	first, last Snapshot
	seen        bool
}

// Frame is one view of a job.
type Frame struct {
	Snapshot
	Speed  float64       // audio seconds made per second; 0 while unknown
	Remain time.Duration // until the end at this speed; 0 while unknown
}

// Add takes the next snapshot and returns the view of it.
func (m *Meter) Add(s Snapshot) Frame {
	if !m.seen {
		m.first, m.seen = s, true
	}
	m.last = s
	f := Frame{Snapshot: s}
	elapsed := s.At.Sub(m.first.At).Seconds()
	if elapsed <= 0 {
		return f
	}
	f.Speed = (s.AudioSeconds - m.first.AudioSeconds) / elapsed
	if gained := s.Fraction - m.first.Fraction; gained > 0 && s.Fraction < 1 {
		f.Remain = time.Duration((1 - s.Fraction) / gained * elapsed * float64(time.Second))
	}
	return f
}

const minBar = 10 // below this a bar says nothing

// Block draws f as three lines for a terminal of the given width in columns.
func Block(f Frame, width int) string {
	width = max(width, 40)
	title := f.Title
	if title == "" {
		title = "job"
	}
	head := fmt.Sprintf("%s  %s", title, f.State)
	bar := max(width-10, minBar)
	full := int(f.Fraction * float64(bar))
	lines := []string{
		clip(head, width),
		fmt.Sprintf("[%s%s] %5.1f%%", strings.Repeat("█", full), strings.Repeat("░", bar-full), 100*f.Fraction),
		clip(Counts(f), width),
	}
	return strings.Join(lines, "\n")
}

// Counts says the numbers of f in one line.
func Counts(f Frame) string {
	parts := []string{
		fmt.Sprintf("chapters %d/%d", f.ChaptersReady, f.ChaptersTotal),
		fmt.Sprintf("segments %d/%d", f.SegmentsDone, f.SegmentsTotal),
	}
	if f.SegmentsReused > 0 {
		parts = append(parts, fmt.Sprintf("reused %d", f.SegmentsReused))
	}
	if f.SegmentsFailed > 0 {
		parts = append(parts, fmt.Sprintf("failed %d", f.SegmentsFailed))
	}
	parts = append(parts, "audio "+Clock(f.AudioSeconds))
	if f.Speed > 0 {
		parts = append(parts, fmt.Sprintf("speed %.0f×", f.Speed))
	}
	if f.Remain > 0 {
		parts = append(parts, "ETA "+Clock(f.Remain.Seconds()))
	}
	return strings.Join(parts, "  ")
}

// Line says f in one plain line, for a log or a pipe.
func Line(f Frame) string {
	return fmt.Sprintf("%s %s %.1f%% %s", f.At.UTC().Format(time.RFC3339), f.State, 100*f.Fraction, Counts(f))
}

// Clock writes seconds as m:ss, or h:mm:ss from an hour on.
func Clock(seconds float64) string {
	s := int(seconds + 0.5)
	if s >= 3600 {
		return fmt.Sprintf("%d:%02d:%02d", s/3600, s/60%60, s%60)
	}
	return fmt.Sprintf("%d:%02d", s/60, s%60)
}

func clip(s string, width int) string {
	r := []rune(s)
	if len(r) <= width {
		return s
	}
	return string(r[:width-1]) + "…"
}
