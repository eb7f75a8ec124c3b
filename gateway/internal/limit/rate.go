package limit

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Rate allows Count units in Per on average and Burst units at once. The zero
// Rate allows everything.
type Rate struct {
	Count int64
	Per   time.Duration
	Burst int64
}

// UnmarshalText reads count/period:burst, such as 2000/1s:10000, or "off".
func (r *Rate) UnmarshalText(text []byte) error {
	if string(text) == "off" {
		*r = Rate{}
		return nil
	}
	count, rest, _ := strings.Cut(string(text), "/")
	per, burst, found := strings.Cut(rest, ":")
	var err [3]error
	r.Count, err[0] = strconv.ParseInt(count, 10, 64)
	r.Per, err[1] = time.ParseDuration(per)
	r.Burst, err[2] = strconv.ParseInt(burst, 10, 64)
	if !found || err != [3]error{} {
		return fmt.Errorf("%q is not a rate such as 2000/1s:10000 or off", text)
	}
	return nil
}

// MarshalText writes what UnmarshalText reads.
func (r Rate) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// String returns what UnmarshalText reads.
func (r Rate) String() string {
	if r.off() {
		return "off"
	}
	return fmt.Sprintf("%d/%s:%d", r.Count, r.Per, r.Burst)
}

// off reports whether the rate allows everything.
func (r Rate) off() bool { return r == Rate{} }

// validate reports a rate that cannot be kept.
func (r Rate) validate(name string) error {
	switch {
	case r.off():
		return nil
	case r.Count < 1 || r.Burst < 1 || r.Per <= 0:
		return fmt.Errorf("limit: %s: count (%d), burst (%d) and period (%s) must be positive", name, r.Count, r.Burst, r.Per)
	case float64(r.Burst)*float64(r.Per) > math.MaxInt64/4 || float64(r.Per)/float64(r.Count) < 1:
		return fmt.Errorf("limit: %s: %d in %s with a burst of %d cannot be counted in nanoseconds", name, r.Count, r.Per, r.Burst)
	}
	return nil
}

// cost is how long units take to come back, in nanoseconds. A unit too much for
// the burst costs the whole burst: otherwise it could never be had.
func (r Rate) cost(units int64) int64 {
	return min(units, r.Burst) * int64(r.Per) / r.Count
}

// window is how long the whole burst takes to come back.
func (r Rate) window() time.Duration { return time.Duration(r.cost(r.Burst)) }

// take is the algorithm. full is when the subject will have its whole burst
// again, now the time, both in nanoseconds. It returns full after units were
// taken and, if they may not be, how long to wait until they may.
func (r Rate) take(full, now, units int64) (next, wait int64) {
	next = max(full, now) + r.cost(units)
	return next, max(0, next-now-r.cost(r.Burst))
}

// left is how many units may still be taken at once.
func (r Rate) left(full, now int64) int64 {
	back := max(0, min(full-now, r.cost(r.Burst)))
	return r.Burst - (back*r.Count+int64(r.Per)-1)/int64(r.Per)
}

// Bucket holds units at a rate. It is safe for concurrent use.
type Bucket struct {
	rate    Rate
	started time.Time

	mu   sync.Mutex
	full int64 // guarded by mu: when the whole burst is there again, after started
}

// NewBucket returns a full bucket.
func NewBucket(r Rate) *Bucket { return &Bucket{rate: r, started: time.Now()} }

// Take takes a unit. If wait is positive it has not: there is one then.
func (b *Bucket) Take(at time.Time) (wait time.Duration) {
	now := int64(at.Sub(b.started))
	b.mu.Lock()
	defer b.mu.Unlock()
	next, missing := b.rate.take(b.full, now, 1)
	if missing == 0 {
		b.full = next
	}
	return time.Duration(missing)
}

// Give gives a unit back.
func (b *Bucket) Give() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.full -= b.rate.cost(1)
}
