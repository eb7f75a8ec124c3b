package edge

import (
	"sync/atomic"
	"time"
)

// lagTicks is for how many ticks of the clock a Lag remembers the worst at least: 15
// seconds, so that whoever reads it that often misses nothing.
const lagTicks = 150

// Lag is the worst of what event loops took to turn to what had come, in the last
// 15 to 30 seconds. A loop that is busy counts from when it was asked. It is safe for
// concurrent use.
type Lag struct{ now, before atomic.Int64 }

// Load returns nanoseconds.
func (l *Lag) Load() int64 { return max(l.now.Load(), l.before.Load()) }

func (l *Lag) note(d time.Duration) {
	for {
		worst := l.now.Load()
		if int64(d) <= worst || l.now.CompareAndSwap(worst, int64(d)) {
			return
		}
	}
}

// turn begins another stretch of time.
func (l *Lag) turn() { l.before.Store(l.now.Swap(0)) }
