package listen

import (
	"errors"
	"fmt"
	"slices"
)

// Limits are what a segment may have before it is condemned.
type Limits struct {
	Weight  int     // of the worst stretch, in characters
	CER     float64 // character error rate; short texts are off by a word soon, so
	Slack   int     // so many characters may be wrong whatever the rate
	Unheard float64 // seconds of sound in one gap between the words that were heard
	Pace    float64 // how far the length may be off, as a share of what was expected
	Twice   float64 // seconds of sound like sound before it
}

// DefaultLimits returns limits for a voice that nothing is known of; docs/benchmarks.md
// has where they come from.
func DefaultLimits() Limits {
	return Limits{Weight: 14, CER: 0.4, Slack: 8, Unheard: 1.2, Pace: 0.35, Twice: 0.4}
}

// Validate reports limits that make no sense.
func (l Limits) Validate() error {
	if l.Weight < 1 || !(l.CER > 0) || l.Slack < 0 || !(l.Unheard > 0) || !(l.Pace > 0) || !(l.Twice > 0) {
		return errors.New("limits of the ear must be positive: " + fmt.Sprintf("%+v", l))
	}
	return nil
}

// Evidence is what is known of one segment.
type Evidence struct {
	Report
	Seconds   float64 // of audio, without the silence at both ends
	Predicted float64 // seconds; 0: not known
	Unheard   float64 // see [Unheard]
	Twice     float64 // seconds of sound like sound before it, beyond what the text itself says twice
}

// Verdict is what [Limits.Judge] says of a segment.
type Verdict struct {
	Fault Fault  // None if the segment is good
	Why   string // the figure that condemned it, for logs
}

// Judge condemns what is beyond l. pace is what a voice takes of what is
// predicted, as [History.Pace] knows it; 0 leaves the length out.
func (l Limits) Judge(e Evidence, pace float64) Verdict {
	fault := e.Worst.Fault
	switch off := e.off(pace); {
	case e.Worst.Weight > l.Weight:
		return Verdict{fault, fmt.Sprintf("a stretch of %d characters", e.Worst.Weight)}
	case e.CharErrors > l.Slack && e.CER() > l.CER && fault != None:
		return Verdict{fault, fmt.Sprintf("character error rate %.2f", e.CER())}
	case e.Unheard > l.Unheard:
		return Verdict{Extra, fmt.Sprintf("%.1f s of sound that no words were heard in", e.Unheard)}
	case off > l.Pace:
		return Verdict{Extra, fmt.Sprintf("%.0f %% longer than the voice takes", 100*off)}
	case off < -l.Pace:
		return Verdict{Missing, fmt.Sprintf("%.0f %% shorter than the voice takes", -100*off)}
	case e.Twice > l.Twice || e.Twice > l.Twice/2 && l.longer(e, off):
		return Verdict{Repeated, fmt.Sprintf("%.2f s sound twice", e.Twice)}
	}
	return Verdict{}
}

// longer reports whether half of what condemns a segment says that it has more than the
// text: its length, or words. With as much of what sounds twice that is enough.
func (l Limits) longer(e Evidence, off float64) bool {
	more := e.Worst.Fault == Extra || e.Worst.Fault == Repeated
	return off > l.Pace/2 || more && e.Worst.Weight > l.Weight/2
}

// paceSlack is how many seconds of a segment its pace says nothing about: pauses and decay.
const paceSlack = 0.4

// off returns by which share the length differs from what the voice takes.
func (e Evidence) off(pace float64) float64 {
	if pace == 0 || e.Predicted == 0 {
		return 0
	}
	want := pace * e.Predicted
	switch difference := e.Seconds - want; {
	case difference > paceSlack:
		return (difference - paceSlack) / want
	case difference < -paceSlack:
		return (difference + paceSlack) / want
	}
	return 0
}

// The bounds of a history.
const (
	remembered = 512  // segments
	vocabulary = 4096 // words; the history forgets all of them when there are more
	needed     = 40   // segments before it says anything
)

// History learns from the good segments of one voice and recogniser. The zero value
// is ready; it is not safe for concurrent use.
type History struct {
	weights, paces, cers, unheard, twice []float64 // of the last segments, bounded by remembered
	next                                 int
	words                                map[string]count
}

type count struct{ heard, misheard int }

// Add takes in a segment that was not condemned.
func (h *History) Add(e Evidence) {
	if e.Predicted > 0 {
		h.put(&h.paces, e.Seconds/e.Predicted)
	}
	h.put(&h.weights, float64(e.Worst.Weight))
	h.put(&h.cers, e.CER())
	h.put(&h.unheard, e.Unheard)
	h.put(&h.twice, e.Twice)
	h.next++
	if h.words == nil || len(h.words) > vocabulary {
		h.words = map[string]count{}
	}
	for _, w := range e.hit {
		c := h.words[w]
		h.words[w] = count{c.heard + 1, c.misheard}
	}
	for _, w := range e.misheard {
		c := h.words[w]
		h.words[w] = count{c.heard, c.misheard + 1}
	}
}

func (h *History) put(list *[]float64, v float64) {
	if len(*list) < remembered {
		*list = append(*list, v)
		return
	}
	(*list)[h.next%remembered] = v
}

// Pardoned reports whether word was misheard three times or more and hardly ever heard.
func (h *History) Pardoned(word string) bool {
	c := h.words[word]
	return c.misheard >= 3 && c.misheard >= 3*c.heard
}

// Pace returns the median share that the voice takes of what is predicted, 0 as long
// as too little is known.
func (h *History) Pace() float64 {
	if len(h.paces) < needed {
		return 0
	}
	return quantile(h.paces, .5)
}

// Limits returns the limits for the voice: fallback as long as too little is known, and
// never less than half nor more than twice of it.
func (h *History) Limits(fallback Limits) Limits {
	if len(h.weights) < needed {
		return fallback
	}
	l := fallback
	l.Weight = int(within(1.3*quantile(h.weights, .99), float64(fallback.Weight)))
	l.CER = within(1.3*quantile(h.cers, .99), fallback.CER)
	l.Unheard = within(1.3*quantile(h.unheard, .99), fallback.Unheard)
	l.Twice = within(1.3*quantile(h.twice, .99), fallback.Twice)
	if pace := h.Pace(); pace > 0 {
		spread := max(quantile(h.paces, .99)/pace-1, 1-quantile(h.paces, .01)/pace)
		l.Pace = within(1.3*spread, fallback.Pace)
	}
	return l
}

func within(v, usual float64) float64 { return min(max(v, usual/2), 2*usual) }

func quantile(of []float64, q float64) float64 {
	sorted := slices.Sorted(slices.Values(of))
	return sorted[int(q*float64(len(sorted)-1)+.5)]
}
