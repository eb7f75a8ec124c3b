package timeline

import (
	"math"

	"github.com/voicemill/voicemill/job"
)

// Breaks after a segment, as the plan has them.
const (
	breakSentence  = "sentence"
	breakParagraph = "paragraph"
	breakChapter   = "chapter"
)

// Layout places the segments of one chapter in its audio file. Segments are
// added in reading order; those that failed are passed over and leave no gap of
// their own: the silence between two segments is the longest of the breaks
// between them. After the last segment comes the pause of a chapter; before the
// first there is nothing, unless [Layout.Frame] says so.
type Layout struct {
	rate   int // Hz
	pauses job.Pauses
	lead   float64 // seconds of silence before the first segment
	tail   float64 // and after the last
	at     int64   // samples so far, the gap before the next segment excluded
	gap    float64 // seconds of silence owed before the next segment
	placed bool
}

// NewLayout returns an empty layout at rate Hz.
func NewLayout(rate int, pauses job.Pauses) *Layout {
	return &Layout{rate: rate, pauses: pauses, tail: pauses.Chapter}
}

// Frame has so many seconds of silence before the first segment, and bounds those
// after the last. It is for an empty layout, which it returns.
func (l *Layout) Frame(lead, leastTail, mostTail float64) *Layout {
	l.lead, l.tail = lead, min(max(l.tail, leastTail), mostTail)
	return l
}

// Place adds a segment of so many samples and returns the samples of silence
// before it, and the sample at which it begins.
func (l *Layout) Place(samples int64, breakAfter string) (silence, start int64) {
	silence = l.Samples(l.lead)
	if l.placed {
		silence = l.Samples(l.gap)
	}
	l.placed = true
	start = l.at + silence
	l.at = start + samples
	l.gap = l.pause(breakAfter)
	return silence, start
}

// Pass adds a segment that has no audio.
func (l *Layout) Pass(breakAfter string) { l.gap = max(l.gap, l.pause(breakAfter)) }

// End returns the samples of silence after the last segment, and of the whole file.
func (l *Layout) End() (silence, total int64) {
	silence = l.Samples(l.tail)
	return silence, l.at + silence
}

func (l *Layout) pause(breakAfter string) float64 {
	switch breakAfter {
	case breakSentence:
		return l.pauses.Sentence
	case breakParagraph:
		return l.pauses.Paragraph
	case breakChapter:
		return l.pauses.Chapter
	}
	return 0
}

// Samples returns the samples that so many seconds are, rounded to the nearest.
func (l *Layout) Samples(seconds float64) int64 { return int64(math.Round(seconds * float64(l.rate))) }
