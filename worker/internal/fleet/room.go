package fleet

import (
	"time"

	"github.com/voicemill/voicemill/worker/internal/window"
)

// Room is how many texts the addresses that are well should have at once.
type Room struct {
	All   int // as long as nobody waits for a single one
	Eased int // of these, such as nobody waits for, while somebody waits for others
}

// Room returns how many texts are worth having at once now. More wait in hand.
func (f *Fleet) Room() Room {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.roomLocked()
}

func (f *Fleet) roomLocked() (r Room) {
	for _, m := range f.members {
		switch {
		case m.phase != well:
		case m.found == nil:
			r.All, r.Eased = r.All+m.window, r.Eased+m.window
		default:
			all, eased := m.found.Limits()
			r.All, r.Eased = r.All+all, r.Eased+eased
		}
	}
	return r
}

// Ease says whether somebody waits for single texts from now on.
func (f *Fleet) Ease(on bool) {
	mode := window.All
	if on {
		mode = window.Eased
	}
	f.change(func(time.Time) {
		for _, m := range f.members {
			if m.found != nil {
				m.found.Ease(mode)
				m.fit()
			}
		}
	})
}

// begin notes a call of n texts and returns what is to be known of it at its end.
func (m *member) begin(now time.Time, n int) call {
	if m.found != nil {
		return call{number: m.health.begin(n), mark: m.found.Begin(now, n)}
	}
	return call{number: m.health.begin(n)}
}

// call is one that has begun.
type call struct {
	number uint64
	mark   window.Mark
}

// end notes that a call of n texts ended, with so many seconds of good audio; with 0 it
// says nothing of the pace of the address.
func (m *member) end(now time.Time, c call, n int, audio float64) {
	m.inFlight -= n
	if m.found != nil {
		m.found.End(now, c.mark, n, audio)
		m.fit()
	}
}

// full notes that the address wants to be left alone, for after if it said so.
func (m *member) full(now time.Time, after time.Duration) {
	if m.found != nil && !now.Before(m.restUntil) { // else it is one of several that were in flight
		m.found.Full(now)
		m.fit()
	}
	m.health.full(now, after)
}

// fit gives the address what was found to be its window.
func (m *member) fit() {
	m.window, _ = m.found.Limits()
}
