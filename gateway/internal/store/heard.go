package store

import (
	"context"
	"sync/atomic"
	"time"

	"golang.org/x/sync/singleflight"

	"github.com/voicemill/voicemill/platform/pg"
)

// believed is how long an answer of the database stands for the next one: the
// gateway asks each second, so while all is well nobody waits for that.
const believed = 2 * time.Second

// heard remembers when the database answered last, and who asks now. It is safe
// for concurrent use.
type heard struct {
	last   atomic.Pointer[time.Time] // nil: never
	asking singleflight.Group
}

func (h *heard) now() {
	now := time.Now()
	h.last.Store(&now)
}

// Answers returns nil if the database answered within the last two seconds, or
// does so now. Those who wait for it wait for one question, half as long as for a
// call at most. So what needs no database itself and is of no use without one is
// turned away as soon as what does.
func (s *Store) Answers(ctx context.Context) error {
	if err := s.Available(); err != nil {
		return err
	}
	if last := s.heard.last.Load(); last != nil && time.Since(*last) < believed {
		return nil
	}
	asked := s.heard.asking.DoChan("", func() (any, error) { return nil, s.Probe(context.WithoutCancel(ctx)) })
	select {
	case answer := <-asked:
		return answer.Err
	case <-ctx.Done():
		return pg.Classify(ctx.Err())
	}
}
