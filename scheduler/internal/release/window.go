package release

import (
	"fmt"
	"math"
	"time"
)

// WindowConfig bounds what may be out in one lane.
type WindowConfig struct {
	Work        time.Duration // of the pool's own pace: how long what is out keeps it busy
	MinSeconds  float64       // predicted audio that may be out whatever the pace
	MinSegments int           // segments that may be out whatever their length
	MaxSegments int
}

func (c WindowConfig) validate() error {
	if c.Work <= 0 || c.MinSeconds <= 0 || c.MinSegments < 1 {
		return fmt.Errorf("release window: work is %s, min_seconds %v, min_segments %d; all must be positive", c.Work, c.MinSeconds, c.MinSegments)
	}
	if c.MaxSegments < c.MinSegments {
		return fmt.Errorf("release window: max_segments (%d) must be at least min_segments (%d)", c.MaxSegments, c.MinSegments)
	}
	return nil
}

// Room returns what a lane may let out beside what is out, in a pool that does
// pace seconds of audio a second.
func (c WindowConfig) Room(pace, outSeconds float64, outSegments int) *Room {
	return &Room{
		Seconds:  max(c.MinSeconds, pace*c.Work.Seconds()) - outSeconds,
		Segments: c.MaxSegments - outSegments,
		Floor:    c.MinSegments - outSegments,
		Idle:     outSegments == 0,
	}
}

// paceMemory is the time constant of the average: a change of pace shows within seconds.
const paceMemory = 3 * time.Second

// Pace measures how many seconds of audio a pool finishes in a second, while it has work.
type Pace struct {
	rate  float64
	known bool
}

// Observe adds that a pool with work finished seconds of audio within elapsed.
func (p *Pace) Observe(seconds float64, elapsed time.Duration) {
	if elapsed <= 0 {
		return
	}
	weight := 1 - math.Exp(-elapsed.Seconds()/paceMemory.Seconds())
	now := seconds / elapsed.Seconds()
	if !p.known && seconds > 0 {
		weight, p.known = 1, true
	}
	p.rate += weight * (now - p.rate)
}

// Rate returns seconds of audio a second, 0 while nothing is known.
func (p *Pace) Rate() float64 { return p.rate }
