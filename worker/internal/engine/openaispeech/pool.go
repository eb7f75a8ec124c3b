package openaispeech

import (
	"context"
	"sync"
	"time"
)

const (
	maxFaults = 3 // failures in a row after which a backend rests
	firstRest = 250 * time.Millisecond
	maxRest   = 30 * time.Second
)

// backend is one address. Its fields are guarded by pool.mu, but for the
// address.
type backend struct {
	name string // host and port, for logs
	url  string

	inFlight  int
	faults    int // failures in a row
	rests     int // rests since the last success; while not zero, one request at a time
	restUntil time.Time
	lastUsed  uint64
	why       error // of the last rest
	failed    bool  // the last rest is for a failure and not for being busy
}

// outcome is what an answer says about the backend's health.
type outcome struct {
	kind  outcomeKind
	after time.Duration // as asked for by a busy backend; 0 if it did not say
	err   error
}

type outcomeKind int

const (
	neutral outcomeKind = iota // nothing: the request was at fault, or the caller left
	healthy
	busy        // full
	unreachable // there was no connection
	faulty      // it failed, hung or answered nonsense
)

// pool hands out backends. It is safe for concurrent use.
type pool struct {
	window   int
	maxWait  time.Duration // for a backend to wake when all rest
	mu       sync.Mutex
	backends []*backend
	uses     uint64
	changed  chan struct{} // guarded by mu; closed and replaced when a backend is put back
}

func newPool(backends []*backend, window int, maxWait time.Duration) *pool {
	return &pool{window: window, maxWait: maxWait, backends: backends, changed: make(chan struct{})}
}

// take waits for a backend that is awake and has room, and returns the one with
// the fewest requests in flight; the caller must put it back. When every backend
// rests for longer than maxWait the error is what the last one failed with. When
// ctx ends first the error is its cause.
func (p *pool) take(ctx context.Context) (*backend, error) {
	giveUp := time.Now().Add(p.maxWait)
	for {
		b, wake, changed, err := p.try(time.Now(), giveUp)
		if b != nil || err != nil {
			return b, err
		}
		if err := wait(ctx, wake, changed); err != nil {
			return nil, err
		}
	}
}

// try returns a backend if one is free. Otherwise it tells when the next one may
// wake, or the zero time, and the channel that is closed on a change.
func (p *pool) try(now, giveUp time.Time) (best *backend, wake time.Time, changed <-chan struct{}, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	unwell := 0
	for _, b := range p.backends {
		if b.rests > 0 {
			unwell++
			err = b.why
		}
		switch {
		case now.Before(b.restUntil):
			if wake.IsZero() || b.restUntil.Before(wake) {
				wake = b.restUntil
			}
		case b.inFlight >= p.room(b):
		case best == nil || b.inFlight < best.inFlight || (b.inFlight == best.inFlight && b.lastUsed < best.lastUsed):
			best = b
		}
	}
	if best != nil {
		p.uses++
		best.lastUsed = p.uses
		best.inFlight++
		return best, time.Time{}, nil, nil
	}
	if unwell == len(p.backends) {
		if !now.Before(giveUp) {
			return nil, time.Time{}, nil, err
		}
		if wake.IsZero() || giveUp.Before(wake) {
			wake = giveUp
		}
	}
	return nil, wake, p.changed, nil
}

// room is how many requests b may have in flight.
func (p *pool) room(b *backend) int {
	if b.rests > 0 {
		return 1
	}
	return p.window
}

// put gives b back with what the request showed of it.
func (p *pool) put(b *backend, o outcome) {
	p.mu.Lock()
	defer p.mu.Unlock()
	b.inFlight--
	b.learn(time.Now(), o)
	close(p.changed)
	p.changed = make(chan struct{})
}

// learn applies o to b's health.
func (b *backend) learn(now time.Time, o outcome) {
	switch o.kind {
	case neutral:
		return
	case healthy:
		b.faults, b.rests, b.restUntil, b.why = 0, 0, time.Time{}, nil
		return
	case faulty:
		b.faults++
		if b.faults < maxFaults && b.rests == 0 {
			return
		}
	case busy, unreachable:
	}
	if now.Before(b.restUntil) { // one of several that were in flight when it began to rest
		return
	}
	b.rests++
	b.why, b.failed = o.err, o.kind != busy
	rest := min(firstRest<<min(b.rests-1, 16), maxRest)
	b.restUntil = now.Add(min(max(rest, o.after), maxRest))
}

func wait(ctx context.Context, until time.Time, changed <-chan struct{}) error {
	var wake <-chan time.Time
	if !until.IsZero() {
		timer := time.NewTimer(time.Until(until))
		defer timer.Stop()
		wake = timer.C
	}
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-wake:
	case <-changed:
	}
	return nil
}
