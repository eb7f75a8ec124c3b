package fairsim

import (
	"container/heap"
	"math"
)

// Engine is the pace of a backend.
type Engine struct {
	Slots       int     // segments in flight, or of a call
	Alpha, Beta float64 // continuous
	A, B, C     float64 // static, if C is positive
}

// Continuous is an L20 that batches by itself.
func Continuous() Engine { return Engine{Slots: 8, Alpha: 0.055, Beta: 0.064} }

// Static is an L20 that takes calls of 16 and answers them as a whole.
func Static() Engine { return Engine{Slots: 16, A: 0.32, B: 0.073, C: 0.034} }

// Joining is a worker that joins audio of a chapter 500 times as fast as it
// sounds, and needs a tenth of a second beside that.
func Joining() Engine { return Engine{Slots: 1, A: 0.1, C: 0.002} }

// Static reports whether a call ends as a whole.
func (e Engine) static() bool { return e.C > 0 }

// Rate returns seconds of audio a second with n segments of mean length in flight.
func (e Engine) Rate(n int, mean float64) float64 {
	if e.static() {
		return float64(n) * mean / (e.A + e.B*mean + e.C*float64(n)*mean)
	}
	return float64(n) / (e.Alpha + e.Beta*float64(n))
}

// call returns how long a static engine takes for segments.
func (e Engine) call(segments []*Segment) float64 {
	longest, sum := 0.0, 0.0
	for _, g := range segments {
		longest, sum = max(longest, g.Audio), sum+g.Audio
	}
	return e.A + e.B*longest + e.C*sum
}

// backend is one engine. In a continuous one all segments progress at the same
// pace, so each ends when the progress of one that was there from the beginning
// reaches a mark.
type backend struct {
	engine   Engine
	inside   inside
	progress float64
	since    float64 // when progress was looked at
	turn     int     // of plans; older ones are void
	ends     float64 // static: when the call does
	begun    float64
}

// inside is a heap by mark.
type inside []*Segment

func (h inside) Len() int           { return len(h) }
func (h inside) Less(i, j int) bool { return h[i].mark < h[j].mark }
func (h inside) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }

// Push is for container/heap.
func (h *inside) Push(x any) { *h = append(*h, x.(*Segment)) }

// Pop is for container/heap.
func (h *inside) Pop() any {
	last := len(*h) - 1
	g := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	return g
}

func (b *backend) pace() float64 {
	return 1 / (b.engine.Alpha + b.engine.Beta*float64(len(b.inside)))
}

func (b *backend) advance(now float64) {
	if len(b.inside) > 0 {
		b.progress += (now - b.since) * b.pace()
	}
	b.since = now
}

// start takes a call and returns when to look at the backend again.
func (b *backend) start(now float64, call []*Segment) float64 {
	b.turn++
	if b.engine.static() {
		b.inside = append(b.inside[:0], call...)
		b.begun, b.ends = now, now+b.engine.call(call)
		return b.ends
	}
	b.advance(now)
	for _, g := range call {
		g.mark, g.from = b.progress+g.Audio, b.progress
		heap.Push(&b.inside, g)
	}
	return b.next(now)
}

// next returns when the next segment of a continuous engine ends.
func (b *backend) next(now float64) float64 {
	if len(b.inside) == 0 {
		return math.Inf(1)
	}
	return now + max(0, b.inside[0].mark-b.progress)/b.pace()
}

// end returns what has ended, and when to look again.
func (b *backend) end(now float64) (done []*Segment, again float64) {
	b.turn++
	if b.engine.static() {
		done, b.inside = b.inside, nil
		return done, math.Inf(1)
	}
	b.advance(now)
	for len(b.inside) > 0 && b.inside[0].mark-b.progress < 1e-9 {
		done = append(done, heap.Pop(&b.inside).(*Segment))
	}
	return done, b.next(now)
}

// served returns how much of a segment inside is done.
func (b *backend) served(now float64, g *Segment) float64 {
	if b.engine.static() {
		return g.Audio * (now - b.begun) / (b.ends - b.begun)
	}
	return b.progress - g.from
}
