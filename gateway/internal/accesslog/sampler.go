package accesslog

import (
	"net/http"
	"sync/atomic"
	"time"
)

// sampler decides which requests have a line in the access log: all that succeeded
// and were slow, and of the others a number a second, counted apart for those that
// were plain, those that clients did wrong and those that failed here. It is safe
// for concurrent use; when a second begins a few more may pass.
type sampler struct {
	slow                  time.Duration
	plain, wrong, failing budget
	left                  atomic.Uint64 // requests without a line since the last line
}

func newSampler(cfg *Config) *sampler {
	failures := int64(cfg.Failures)
	return &sampler{slow: cfg.Slow, plain: budget{rate: int64(cfg.Rate)}, wrong: budget{rate: failures}, failing: budget{rate: failures}}
}

// pass reports whether a request has a line, and how many had none since the
// last line.
func (s *sampler) pass(status int, took time.Duration, now time.Time) (left uint64, pass bool) {
	var b *budget
	switch {
	case status >= http.StatusInternalServerError:
		b = &s.failing
	case status >= http.StatusBadRequest:
		b = &s.wrong
	case took < s.slow:
		b = &s.plain
	}
	if b != nil && !b.take(now) {
		s.left.Add(1)
		return 0, false
	}
	if s.left.Load() > 0 {
		left = s.left.Swap(0)
	}
	return left, true
}

// budget is how many lines of a kind each second has.
type budget struct {
	rate   int64 // 0 is no limit
	second atomic.Int64
	passed atomic.Int64 // in this second
}

func (b *budget) take(now time.Time) bool {
	if b.rate == 0 {
		return true
	}
	second := now.Unix()
	if was := b.second.Load(); was != second && b.second.CompareAndSwap(was, second) {
		b.passed.Store(0)
	}
	return b.passed.Load() < b.rate && b.passed.Add(1) <= b.rate
}
