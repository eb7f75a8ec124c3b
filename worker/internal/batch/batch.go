package batch

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/voicemill/voicemill/job"
)

// Item is one segment that waits for an engine.
type Item struct {
	Class   job.Class
	Seconds float64   // predicted audio
	Since   time.Time // when it began to wait here
	Solo    bool      // it must not share a call
}

// Limits bound one call.
type Limits struct {
	Items   int           // most items of a call, at least 1
	Seconds float64       // most predicted audio of a call; one longer item still goes, alone
	Wait    time.Duration // how long an item waits for company while the engine is busy
}

// Validate reports the first limit that makes no sense.
func (l Limits) Validate() error {
	switch {
	case l.Items < 1:
		return fmt.Errorf("a call of %d items; at least 1 is needed", l.Items)
	case !(l.Seconds > 0): // NaN too
		return fmt.Errorf("a call of %g seconds; more than 0 is needed", l.Seconds)
	case l.Wait < 0:
		return fmt.Errorf("a wait of %s is negative", l.Wait)
	}
	return nil
}

// State is what the pool does now.
type State struct {
	Free     int     // calls that may still start
	Spared   int     // of these, what bulk does not lead: interactive items come, and each is slow beside many
	Idle     bool    // no call is running, so waiting gains nothing
	BulkTurn bool    // bulk has been passed over long enough: it leads if any waits
	Ends     bool    // no more waits behind what is here
	Calls    int     // at once
	Running  float64 // predicted audio that is left of the calls that run
}

// Decision says what to do. Either Take names the items of the next call, or
// it is empty and Wait says when to ask again if nothing happens before; zero
// means that time alone changes nothing.
type Decision struct {
	Take []int // indexes into waiting, in the order of the call
	Wait time.Duration
}

// Decide chooses the next call from waiting. It changes nothing; asked again
// with the same values it answers the same.
func Decide(waiting []Item, now time.Time, st State, lim Limits) Decision {
	if st.Free < 1 || len(waiting) == 0 {
		return Decision{}
	}
	lead := leader(waiting, st.BulkTurn)
	if lead == job.Bulk && st.Free <= st.Spared && !st.BulkTurn {
		return Decision{}
	}
	anchor := oldest(waiting, lead)
	if waiting[anchor].Solo {
		return Decision{Take: []int{anchor}}
	}
	c := call{waiting: waiting, lim: lim}
	var ends bool
	if c.share, ends = share(waiting, st, lim); ends && lead == job.Bulk && now.Sub(waiting[anchor].Since) < patience {
		anchor = longest(waiting, lead)
	}
	c.add(anchor)
	c.fill(lead, anchor, lim.Items)
	switch {
	case lead == job.Bulk:
		c.fill(job.Interactive, anchor, lim.Items)
	case !c.left(job.Interactive):
		c.fill(job.Bulk, anchor, (lim.Items+1)/2) // a call ends with all that is in it
	}
	waited := now.Sub(waiting[anchor].Since)
	if c.full || len(c.take) == lim.Items || st.Idle || waited >= lim.Wait {
		return Decision{Take: c.take}
	}
	return Decision{Wait: lim.Wait - waited}
}

// patience is how long an item may wait while longer ones go first.
const patience = 30 * time.Second

// share returns what each call would have if all that waits and runs were
// divided among them, and whether that is little: less than a call and a half.
// When a backlog ends, calls take no more than their share, and at last the
// longest items go first, so that all calls end at about the same time.
func share(waiting []Item, st State, lim Limits) (seconds float64, ends bool) {
	if !st.Ends || st.Calls < 2 || lim.Items < 2 {
		return math.Inf(1), false
	}
	sum := 0.0
	for _, it := range waiting {
		sum += it.Seconds
	}
	full := float64(lim.Items) * sum / float64(len(waiting))
	seconds = (sum + st.Running) / float64(st.Calls)
	return seconds, seconds < 1.5*full
}

// leader returns the class whose oldest item the call is built around.
func leader(waiting []Item, bulkTurn bool) job.Class {
	var interactive, bulk bool
	for _, it := range waiting {
		if it.Class == job.Interactive {
			interactive = true
		} else {
			bulk = true
		}
	}
	if !interactive || (bulkTurn && bulk) {
		return job.Bulk
	}
	return job.Interactive
}

func (it Item) is(c job.Class) bool { return (it.Class == job.Interactive) == (c == job.Interactive) }

func oldest(waiting []Item, class job.Class) int {
	best := -1
	for i, it := range waiting {
		if it.is(class) && (best < 0 || it.Since.Before(waiting[best].Since)) {
			best = i
		}
	}
	return best
}

// longest returns the longest item of class that need not go alone.
func longest(waiting []Item, class job.Class) int {
	best := -1
	for i, it := range waiting {
		if it.is(class) && !it.Solo && (best < 0 || it.Seconds > waiting[best].Seconds) {
			best = i
		}
	}
	return best
}

// call is a call being built.
type call struct {
	waiting []Item
	lim     Limits
	share   float64
	take    []int
	seconds float64
	full    bool // something that waits did not fit
}

func (c *call) add(i int) {
	c.take = append(c.take, i)
	c.seconds += c.waiting[i].Seconds
}

// fill adds items of class while they fit, up to a number in the call, those
// nearest in length to the anchor first and among equals the oldest.
func (c *call) fill(class job.Class, anchor, most int) {
	var rest []int
	for i, it := range c.waiting {
		if i != anchor && it.is(class) && !it.Solo {
			rest = append(rest, i)
		}
	}
	want := c.waiting[anchor].Seconds
	slices.SortStableFunc(rest, func(a, b int) int {
		return cmp.Or(
			cmp.Compare(math.Abs(c.waiting[a].Seconds-want), math.Abs(c.waiting[b].Seconds-want)),
			c.waiting[a].Since.Compare(c.waiting[b].Since),
		)
	})
	for _, i := range rest {
		more := c.seconds + c.waiting[i].Seconds
		if len(c.take) >= most || more > c.lim.Seconds || more > c.share && len(c.take) >= c.lim.Items/4 {
			c.full = true
			return
		}
		c.add(i)
	}
}

// left reports whether an item of class waits that the call does not take.
func (c *call) left(class job.Class) bool {
	for i, it := range c.waiting {
		if it.is(class) && !slices.Contains(c.take, i) {
			return true
		}
	}
	return false
}
