package carrier

import (
	"context"
	"log/slog"
	"net/http"
	"sync/atomic"
	"time"
)

// sampler decides which requests have a line in the access log: all that failed
// or were slow, and of the rest a number a second. It is safe for concurrent use;
// when a second begins a few more may pass.
type sampler struct {
	rate int64 // plain requests a second; 0 is all
	slow time.Duration

	second atomic.Int64
	passed atomic.Int64  // in this second
	left   atomic.Uint64 // plain requests without a line since the last line
}

func newSampler(rate int, slow time.Duration) *sampler {
	return &sampler{rate: int64(rate), slow: slow}
}

// pass reports whether a request has a line, and how many had none since the
// last line.
func (s *sampler) pass(status int, took time.Duration, now time.Time) (left uint64, pass bool) {
	if s.rate > 0 && status < http.StatusBadRequest && took < s.slow {
		second := now.Unix()
		if was := s.second.Load(); was != second && s.second.CompareAndSwap(was, second) {
			s.passed.Store(0)
		}
		if s.passed.Load() >= s.rate || s.passed.Add(1) > s.rate {
			s.left.Add(1)
			return 0, false
		}
	}
	if s.left.Load() > 0 {
		left = s.left.Swap(0)
	}
	return left, true
}

// wants reports whether the access log wants the line of a request, and how many
// it did without since the last one.
func (k *Carrier) wants(status int, took time.Duration, now time.Time) (left uint64, wanted bool) {
	if !k.access.Enabled(context.Background(), slog.LevelInfo) { //nolint:forbidigo // asks for the level only
		return 0, false
	}
	return k.sample.pass(status, took, now)
}
