package fleet

import (
	"time"
)

// phase is how an address is.
type phase int

const (
	proving phase = iota // it has not spoken yet
	well
	sick
)

const (
	firstRest = 250 * time.Millisecond
	maxRest   = 30 * time.Second
	maxAsked  = time.Hour // of a rest that an address asks for
	// An address that has failed canaries must speak so many in a row to be believed.
	maxDoubt = 3
	// An address of the worker's own that failed so often since it spoke a text, canaries
	// included, is started anew.
	restartAfter = 2
	// So many texts spoken make up for one canary that failed.
	trustAfter = 20
)

// health is the condition of one address. It is a value for one owner and knows no
// clock.
type health struct {
	window int // requests at once when all is well
	room   int // requests at once now: it begins with one
	phase  phase
	since  time.Time // when it fell sick, or was made
	why    string    // while not well
	wrong  bool      // it is misconfigured

	inFlight  int
	questions int  // doubts about it that are not settled; it gets nothing new
	reserved  bool // somebody wants it alone

	restUntil time.Time // it is full
	rests     int       // in a row

	canaryAt time.Time // when it is asked next, while not well
	failed   int       // times that it fell or failed a canary since it spoke a text
	doubt    int       // canaries that it must speak in a row beyond the first
	spoke    int       // canaries spoken in a row
	trust    int       // texts spoken since doubt was reduced

	begun uint64 // calls begun
	good  uint64 // the newest call that spoke a text
}

func newHealth(window int, now time.Time) health {
	return health{window: max(1, window), room: 1, since: now, why: "it has not spoken yet", canaryAt: now}
}

// admits reports whether n requests may begin at now. A call that is larger than
// the room begins alone.
func (h *health) admits(now time.Time, n int) bool {
	return h.phase == well && h.questions == 0 && !h.reserved && !now.Before(h.restUntil) && (h.inFlight == 0 || h.inFlight+n <= min(h.room, h.window))
}

// begin notes a call of n requests and returns its number.
func (h *health) begin(n int) uint64 {
	h.inFlight += n
	h.begun++
	return h.begun
}

// spoken notes that call spoke a text.
func (h *health) spoken(now time.Time, call uint64) {
	h.good, h.failed = max(h.good, call), 0
	if h.phase != well { // it was begun before
		return
	}
	h.room = min(h.room+1, h.window)
	if !now.Before(h.restUntil) { // what it says to others while it rests does not shorten that
		h.rests = 0
	}
	if h.trust++; h.trust >= trustAfter {
		h.trust, h.doubt = 0, max(0, h.doubt-1)
	}
}

// full notes that the address wants to be left alone, for after if it said so.
func (h *health) full(now time.Time, after time.Duration) {
	h.room = max(1, h.room/2)
	if now.Before(h.restUntil) { // one of several that were in flight
		h.restUntil = later(h.restUntil, now.Add(min(after, maxAsked)))
		return
	}
	h.restUntil = now.Add(min(max(pause(h.rests), after), maxAsked))
	h.rests++
}

// fall notes that the address is sick.
func (h *health) fall(now time.Time, why string, wrong bool) {
	if h.phase == well {
		h.since = now
	}
	h.phase = sick
	h.why, h.wrong = why, wrong
	h.spoke, h.room = 0, 1
	h.canaryAt = now.Add(pause(h.failed))
	h.failed++
}

// starts notes that there is nothing at the address yet, or not any more, and that it
// will say when there is. That says nothing against it.
func (h *health) starts(now time.Time, why string) {
	if h.phase == well {
		h.since = now
	}
	h.phase, h.why, h.wrong, h.spoke = proving, why, false, 0
	h.canaryAt = now.Add(pause(3)) // it costs nothing to ask, should the word be lost
}

// canarySpoke notes that a canary was spoken. ok says whether that is enough.
func (h *health) canarySpoke(now time.Time) (ok bool) {
	h.spoke++
	if h.spoke <= h.doubt {
		h.canaryAt = now
		return false
	}
	h.spoke = 0
	if h.phase != well {
		h.room = 1
		if h.phase == proving {
			h.room = h.window
		}
		h.phase, h.since, h.why, h.wrong = well, now, "", false
	}
	return true
}

// canaryFailed notes that a canary was not spoken.
func (h *health) canaryFailed(now time.Time, why string, wrong bool) {
	h.doubt, h.trust = min(h.doubt+1, maxDoubt-1), 0
	h.fall(now, why, wrong)
}

// pause is how long the n-th rest in a row is.
func pause(n int) time.Duration { return min(firstRest<<min(n, 16), maxRest) }

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// state says in one word why the address gets nothing.
func (h *health) state() Why {
	switch {
	case h.phase == well:
		return Overloaded
	case h.wrong:
		return Misconfigured
	case h.phase == proving:
		return Starting
	}
	return Sick
}
