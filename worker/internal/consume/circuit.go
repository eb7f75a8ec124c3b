package consume

import (
	"fmt"
	"math/rand/v2"
	"time"
)

// Backoff says how long a pool stays away from something that failed: Min
// after the first failure, doubling to Max.
type Backoff struct {
	Min, Max time.Duration
}

// Validate reports what makes no sense.
func (b Backoff) Validate() error {
	if b.Min <= 0 || b.Max < b.Min {
		return fmt.Errorf("backoff of %s to %s; want a positive one that grows", b.Min, b.Max)
	}
	return nil
}

// circuit remembers that the database or the bucket failed. Engines are package
// fleet's. It is a value for one owner.
type circuit struct {
	fails int
	until time.Time // no work before
}

// fail opens c for a while.
func (c *circuit) fail(now time.Time, b Backoff) {
	if open, _ := c.open(now); open { // calls that ran side by side meet one outage
		return
	}
	pause := b.Min << min(c.fails, 20)
	if pause > b.Max || pause < b.Min {
		pause = b.Max
	}
	c.fails++
	c.until = now.Add(pause*3/4 + rand.N(pause/2+1))
}

// succeed closes c.
func (c *circuit) succeed() { *c = circuit{} }

// open reports whether nothing may be tried at now, and for how long.
func (c *circuit) open(now time.Time) (bool, time.Duration) {
	return now.Before(c.until), c.until.Sub(now)
}

// probing reports whether what is tried next shows if the dependency is back.
func (c *circuit) probing() bool { return c.fails > 0 }
