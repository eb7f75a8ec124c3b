package check

import (
	"maps"
	"math"
	"slices"
	"sync"
)

// The bounds of a History.
const (
	maxVoices = 500 // speakers that are remembered; then those with instructions are forgotten, or else all
	memory    = 64  // audio of each voice that is remembered
	leastKnow = 16  // audio from which a voice is judged by itself
)

// A voice's own limits: its audio is off by no more than five times its usual
// deviation, but by a factor of pace and paceSlack seconds always.
const (
	deviations = 5
	pace       = 1.6
	paceSlack  = 0.7
)

// Speaker is whose pace is remembered.
type Speaker struct {
	Voice, Language string
	Speed           float64
	Instructions    string
}

// History remembers how long the last audio of each voice took for what was
// predicted. It is robust: half of what it remembers may be wrong. It is safe for
// concurrent use; the zero value is not ready, use [NewHistory].
type History struct {
	mu     sync.Mutex
	voices map[Speaker]*past
}

// past is a ring of the natural logarithms of actual by predicted seconds.
type past struct {
	ratios [memory]float64
	n      int // that were ever noted
}

// NewHistory returns a History that knows no voice.
func NewHistory() *History { return &History{voices: map[Speaker]*past{}} }

// Note remembers v, spoken by s, for a text of predicted seconds, good or bad; what
// is no speech says nothing of a voice's pace and is left out.
func (h *History) Note(s Speaker, predicted float64, v Verdict) {
	if predicted <= 0 || v.Sounding() <= 0 || v.Reason == Empty || v.Reason == Silent || v.Reason == Noise {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	p := h.voices[s]
	if p == nil {
		h.makeRoomLocked()
		p = &past{}
		h.voices[s] = p
	}
	p.ratios[p.n%memory] = math.Log(v.Sounding() / predicted)
	p.n++
}

// makeRoomLocked forgets speakers if there are too many. Instructions are free text and make a
// speaker each: they cost no voice without any what is known of it.
func (h *History) makeRoomLocked() {
	if len(h.voices) >= maxVoices {
		maps.DeleteFunc(h.voices, func(s Speaker, _ *past) bool { return s.Instructions != "" })
	}
	if len(h.voices) >= maxVoices {
		clear(h.voices)
	}
}

// Expect returns what is expected of a text of predicted seconds, spoken by s: what
// cfg says, until s is known. It is never more lenient than cfg.
func (h *History) Expect(cfg Config, s Speaker, predicted float64) Expected {
	want := cfg.Rough(predicted)
	h.mu.Lock()
	defer h.mu.Unlock()
	p := h.voices[s]
	if p == nil || p.n < leastKnow || predicted <= 0 {
		return want
	}
	known := slices.Clone(p.ratios[:min(p.n, memory)])
	centre := median(known)
	for i := range known {
		known[i] = math.Abs(known[i] - centre)
	}
	// 1.4826 times the median deviation is the standard deviation of a normal distribution.
	width := max(math.Log(pace), deviations*1.4826*median(known))
	usual := math.Exp(centre)
	want.MinRatio = max(want.MinRatio/usual, math.Exp(-width))
	want.MaxRatio = min(want.MaxRatio/usual, math.Exp(width))
	want.Seconds, want.Slack = predicted*usual, min(want.Slack, paceSlack)
	return want
}

// median sorts v and returns its middle.
func median(v []float64) float64 {
	slices.Sort(v)
	return (v[(len(v)-1)/2] + v[len(v)/2]) / 2
}
