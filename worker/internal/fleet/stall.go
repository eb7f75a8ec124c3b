package fleet

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"
)

const (
	// An address that has work and ends none of it for so many times as long as it needs,
	// and for so long at least, has stalled. A text may sound for 2.8 times as long as it
	// is predicted to, and take as much longer.
	stallTimes = 3.0
	leastStall = 10 * time.Second
	// The weight of all calls before the last one in what the next is expected to take.
	fading = 0.9
	// An address that has spoken nothing for so long may have unloaded its model, or slowed
	// its card down: how fast it was says nothing of its first call.
	paceKept = time.Minute
)

var errStalled = errors.New("the engine ended nothing for much longer than its work takes")

// progress is how an address advances with what it has. Whether its health checks are
// answered says nothing of that. It is a value for one owner and knows no clock.
type progress struct {
	open  map[uint64]open
	heard time.Time // a call ended well
	pace  float64   // seconds for each predicted second of audio; 0: unknown
	each  float64   // the same, for each text that the address had at once
	stall bool      // it stalled, and spoke nothing since
}

// open is a call in progress.
type open struct {
	began    time.Time
	seconds  float64 // predicted audio; 0: unknown
	inFlight int     // texts that the address had when it began
	end      context.CancelCauseFunc
}

// opens notes a call with so many predicted seconds, 0 if that is not known, which end
// would end.
func (p *progress) opens(now time.Time, number uint64, seconds float64, inFlight int, end context.CancelCauseFunc) {
	if p.open == nil {
		p.open = map[uint64]open{}
	}
	if len(p.open) == 0 && now.Sub(p.heard) > paceKept {
		p.pace, p.each = 0, 0
	}
	p.open[number] = open{now, seconds, inFlight, end}
}

// closes notes the end of a call. well says that all of it was spoken.
func (p *progress) closes(now time.Time, number uint64, inFlight int, well bool) {
	o, known := p.open[number]
	delete(p.open, number)
	if !well || !known {
		return
	}
	p.heard, p.stall = now, false
	if o.seconds <= 0 {
		return
	}
	pace := now.Sub(o.began).Seconds() / o.seconds
	each := 2 * pace / float64(max(1, o.inFlight)+max(1, inFlight))
	if p.pace == 0 {
		p.pace, p.each = pace, each
	}
	p.pace, p.each = fading*p.pace+(1-fading)*pace, fading*p.each+(1-fading)*each
}

// due returns when the address has stalled if it ends nothing until then; zero while
// nothing can be said.
func (p *progress) due(inFlight int) time.Time {
	if len(p.open) == 0 || p.pace == 0 || p.stall {
		return time.Time{}
	}
	longest := 0.0
	for _, o := range p.open {
		if o.seconds <= 0 {
			return time.Time{}
		}
		longest = max(longest, o.seconds)
	}
	// Many at once may take as much longer as they are, and one alone no less long than
	// those before.
	takes := longest * max(p.pace, p.each*float64(inFlight))
	return p.since().Add(max(leastStall, time.Duration(stallTimes*takes*float64(time.Second))))
}

// since returns from when on the address has ended nothing of what it has: calls that
// failed meanwhile are no sign of life, and none of a stall of those that came after.
func (p *progress) since() time.Time {
	var first time.Time
	for _, o := range p.open {
		if first.IsZero() || o.began.Before(first) {
			first = o.began
		}
	}
	return later(p.heard, first)
}

// giveUp ends the calls that are open.
func (p *progress) giveUp(now time.Time) {
	p.stall = true
	silent := now.Sub(p.since()).Round(time.Second)
	for _, o := range p.open {
		o.end(fmt.Errorf("%w: nothing for %s", errStalled, silent))
	}
}

// guard gives up the calls of m when it has stalled, until the fleet is closed. Whose
// fault that is a canary decides, as of any call that was lost.
func (f *Fleet) guard(m *member) {
	for {
		f.mu.Lock()
		due := m.due(m.inFlight)
		if stalled := !due.IsZero() && !time.Now().Before(due); stalled {
			m.giveUp(time.Now())
			f.log.WarnContext(f.life, "an engine has stalled, its calls are given up", slog.String("backend", m.name), slog.Int("calls", len(m.open)))
			due = time.Time{}
		}
		f.mu.Unlock()
		if wait(f.life, due, m.nudge) != nil {
			return
		}
	}
}
