package bus

import (
	"context"
	"log/slog"
	"time"

	"github.com/voicemill/voicemill/platform/lifecycle"
)

const (
	intakeWait    = 30 * time.Second // one wait for an envelope
	intakeGrace   = 5 * time.Second  // for the envelope in hand when ctx ends
	intakePause   = 100 * time.Millisecond
	intakePauseTo = 5 * time.Second
)

// Envelopes hands every envelope in JOBS to fn, one after the other, until ctx
// is done; then it returns nil. When fn returns nil the envelope is ended
// durably; on an error it comes again, after a pause that grows to five
// seconds. An envelope may come more than once, so fn must be idempotent. fn's
// context outlives ctx by five seconds, to finish what it holds. Errors are
// logged, not returned.
func (b *Bus) Envelopes(ctx context.Context, fn func(context.Context, Envelope) error) error {
	pause := intakePause
	for ctx.Err() == nil {
		err := b.oneEnvelope(ctx, fn)
		switch {
		case err == nil:
			pause = intakePause
			continue
		case ctx.Err() != nil:
			continue // the stop cut it short, which is no failure
		}
		b.log.WarnContext(ctx, "envelope not taken in", slog.String("error", err.Error()), slog.Duration("pause", pause))
		if !lifecycle.Sleep(ctx, pause) {
			break
		}
		pause = min(2*pause, intakePauseTo)
	}
	return nil
}

func (b *Bus) oneEnvelope(ctx context.Context, fn func(context.Context, Envelope) error) error {
	got, err := fetch[Envelope](ctx, b, intakeRoute(), 1, intakeWait)
	if err != nil || len(got) == 0 {
		return err
	}
	work, cancel := lifecycle.Linger(ctx, intakeGrace)
	defer cancel()
	d := got[0]
	if err := withHeartbeat(work, d, b.cfg.AckWait/3, fn); err != nil {
		_ = d.Nak() // else it comes again after AckWait
		return err
	}
	return d.Ack(work)
}

// withHeartbeat keeps d while fn runs.
func withHeartbeat(ctx context.Context, d Delivery[Envelope], every time.Duration, fn func(context.Context, Envelope) error) error {
	done := make(chan error, 1)
	go func() { done <- fn(ctx, d.Value) }()
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case err := <-done:
			return err
		case <-tick.C:
			_ = d.InProgress() // a lost one is made good by the next
		}
	}
}
