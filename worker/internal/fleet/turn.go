package fleet

import (
	"context"
	"slices"
	"time"

	"github.com/voicemill/voicemill/job"
)

// take waits for an address that is well and has room for n texts, and returns it
// with the call that begins. With alone it has nothing else, and gets
// nothing else until the end of the call. The error is [ErrWaits] when the pool
// waits, or the cause of ctx.
func (f *Fleet) take(ctx context.Context, n int, alone bool) (*member, call, error) {
	var mine *member // reserved, until it is free
	for {
		var m *member
		var c call
		var wake time.Time
		f.mu.Lock()
		now := time.Now()
		f.settleLocked(now)
		waiting, reason, changed := f.state.Waiting, f.state.Reason, f.changed
		switch {
		case waiting:
		case alone:
			mine = f.reserve(mine)
			if mine != nil && mine.inFlight == 0 && !now.Before(mine.restUntil) {
				m = mine
			}
		default:
			m = f.best(now, n)
		}
		if m != nil {
			c = m.begin(now, n)
		} else {
			wake = f.wakeLocked(now)
		}
		f.mu.Unlock()
		if m != nil {
			return m, c, nil
		}
		var err error
		if waiting {
			err = &job.Error{Op: "fleet.take", Kind: job.Unavailable, Err: waits(reason)}
		} else {
			err = wait(ctx, wake, changed)
		}
		if err != nil {
			if mine != nil {
				f.change(func(time.Time) { mine.reserved = false })
			}
			return nil, call{}, err
		}
	}
}

// reserve keeps the address for somebody who wants it alone, or finds another: the
// last one that is well, so that it is always the same one that is put at risk.
func (f *Fleet) reserve(mine *member) *member {
	if mine != nil && (mine.phase != well || mine.questions > 0) {
		mine.reserved = false
		mine = nil
	}
	if mine != nil {
		return mine
	}
	for _, m := range slices.Backward(f.members) {
		if m.phase == well && m.questions == 0 && !m.reserved {
			m.reserved = true
			return m
		}
	}
	return nil
}

// best returns the address with the least to do, among equals the one that has had
// the fewest calls; nil if none admits n texts.
func (f *Fleet) best(now time.Time, n int) (best *member) {
	for _, m := range f.members {
		if m.admits(now, n) && (best == nil || m.inFlight < best.inFlight || m.inFlight == best.inFlight && m.begun < best.begun) {
			best = m
		}
	}
	return best
}

// wakeLocked returns when time alone may change something; zero for never.
func (f *Fleet) wakeLocked(now time.Time) (wake time.Time) {
	for _, m := range f.members {
		if m.phase == well && now.Before(m.restUntil) && (wake.IsZero() || m.restUntil.Before(wake)) {
			wake = m.restUntil
		}
	}
	return wake
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
