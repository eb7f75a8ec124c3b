package helper

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/voicemill/voicemill/platform/lifecycle"
)

// slot is a place for one helper. Who took it from Pool.free owns it until it is
// put back.
type slot struct {
	cfg      Config
	process  *process // nil before the first request and after a failure
	served   int      // requests that it answered
	failures int      // starts and answers that failed in a row
	notUntil time.Time
}

// ready makes sure that there is a live helper, starting one if need be. ctx
// bounds back-off and start.
func (s *slot) ready(ctx context.Context) error {
	worn := s.cfg.RecycleAfter > 0 && s.served >= s.cfg.RecycleAfter
	if s.process != nil && (!s.process.Alive() || worn) {
		s.retire()
	}
	if s.process != nil {
		return nil
	}
	if !lifecycle.Sleep(ctx, time.Until(s.notUntil)) {
		return context.Cause(ctx)
	}
	p, err := start(ctx, s.cfg)
	if err != nil {
		if ctx.Err() == nil {
			s.failed()
		}
		return err
	}
	s.cfg.Logger.DebugContext(ctx, "helper started", slog.Int("pid", p.PID), slog.String("library", p.hello.Library))
	s.process, s.served = p, 0
	return nil
}

// speak has q answered by the helper that ready made sure of. Any error, the end
// of ctx included, costs the helper.
func (s *slot) speak(ctx context.Context, id uint64, q Ask) (Answer, error) {
	maxSamples := int64(s.cfg.MaxAudio/time.Second) * int64(s.cfg.Rate)
	a, err := s.process.speak(ctx, id, q, maxSamples)
	if err != nil {
		s.retire()
		if ctx.Err() == nil || errors.Is(context.Cause(ctx), errHung) { // else the caller left
			s.failed()
		}
		return Answer{}, err
	}
	s.served++
	s.failures = 0
	return a, nil
}

func (s *slot) failed() {
	s.failures++
	s.notUntil = time.Now().Add(backoff(s.failures))
}

func (s *slot) retire() {
	if s.process != nil {
		s.process.Stop()
		s.process = nil
	}
}

// startError tells a helper that could not be started from one that failed.
type startError struct{ err error }

func (e *startError) Error() string { return fmt.Sprintf("no helper: %v", e.err) }
func (e *startError) Unwrap() error { return e.err }

// backoff is how long a slot rests after so many failures in a row. The first
// is free: it was probably the text.
func backoff(failures int) time.Duration {
	const first, longest = 100 * time.Millisecond, 10 * time.Second
	if failures < 2 {
		return 0
	}
	return min(first<<min(failures-2, 20), longest)
}
