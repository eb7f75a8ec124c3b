package callback

import "time"

const (
	maxHosts  = 10_000 // that something is remembered of; beyond it those that were quiet longest are strangers again
	restFrom  = 30 * time.Second
	restTo    = 10 * time.Minute
	restAfter = 2 // attempts in a row without an answer
)

// hosts is what is known of receivers: how many attempts are on their way to
// each, and which do not answer. It has no clock and no lock.
//
// A stranger gets one attempt at a time; one that has answered, whatever it
// said, gets perHost. One that was silent twice in a row rests: for half a
// minute at first, then for twice as long each time, up to ten minutes, and then
// has to answer one attempt. So hosts that hang hold one place each for one
// time-out now and then, and not all places for ever.
type hosts struct {
	perHost int
	known   map[string]*host
}

type host struct {
	flying  int
	answers bool // the last attempt had one
	silent  int  // attempts in a row without one
	rests   time.Time
	heard   time.Time // when an attempt ended last
}

func newHosts(perHost int) *hosts { return &hosts{perHost: perHost, known: map[string]*host{}} }

// room reports whether one more attempt may go to name.
func (hs *hosts) room(name string, now time.Time) bool {
	h := hs.known[name]
	return h == nil || !h.busy(hs.perHost, now)
}

func (h *host) busy(perHost int, now time.Time) bool {
	if !h.answers {
		perHost = 1
	}
	return h.flying >= perHost || now.Before(h.rests)
}

// busy returns the hosts that get nothing now.
func (hs *hosts) busy(now time.Time) []string {
	list := []string{}
	for name, h := range hs.known {
		if h.busy(hs.perHost, now) {
			list = append(list, name)
		}
	}
	return list
}

// start notes that an attempt goes out.
func (hs *hosts) start(name string) {
	h := hs.known[name]
	if h == nil {
		h = &host{}
		hs.known[name] = h
	}
	h.flying++
}

// land notes that an attempt ended, with an answer or without.
func (hs *hosts) land(name string, answered bool, now time.Time) {
	h := hs.known[name]
	if h == nil || h.flying == 0 {
		return
	}
	h.flying--
	h.heard, h.answers = now, answered
	if answered {
		h.silent, h.rests = 0, time.Time{}
	} else if h.silent++; h.silent >= restAfter {
		h.rests = now.Add(min(restFrom<<min(h.silent-restAfter, 10), restTo))
	}
	if len(hs.known) > maxHosts {
		hs.forget()
	}
}

// forget drops the host that was quiet longest.
func (hs *hosts) forget() {
	oldest := ""
	for name, h := range hs.known {
		if h.flying == 0 && (oldest == "" || h.heard.Before(hs.known[oldest].heard)) {
			oldest = name
		}
	}
	delete(hs.known, oldest)
}
