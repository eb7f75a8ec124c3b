package fleet

import (
	"context"
	"log/slog"
	"math"
	"time"

	"github.com/voicemill/voicemill/worker/internal/engine"
)

// What an engine speaks before a text that ended one is alone with it again.
const (
	controlTimes = 4.0 // times as long as the text, in canaries
	minControl   = 4   // canaries
	maxControl   = 16
)

// control has m, which was taken for it alone, speak canaries for several times as
// long as the text lasts, if the text ended an engine before. Whatever else ends
// engines, such as a kill from outside, then falls upon a canary sooner than upon the
// text, and what was held against the text is forgotten: if it is innocent, the chance
// of each death after the first is at most one in five, however often engines are
// killed. If control returns false, m was given up.
func (f *Fleet) control(ctx context.Context, m *member, c call, it *item) bool {
	f.mu.Lock()
	deaths := f.suspects.deathsOf(it.r.Text)
	f.mu.Unlock()
	if deaths == 0 || f.lives(ctx, m, &it.r) {
		return true
	}
	acquitted := false
	f.change(func(now time.Time) {
		m.end(now, c, 1, 0)
		m.reserved = false
		if acquitted = m.phase != well && ctx.Err() == nil; acquitted {
			f.suspects.acquit(it.r.Text)
		}
	})
	if acquitted {
		f.log.InfoContext(ctx, "the engine ended without the text that was under suspicion", slog.String("backend", m.name), slog.String("request", it.r.ID))
	}
	return false
}

// lives reports whether m speaks canaries in the voice of r for as long as is a
// control for r. The end of ctx counts as no.
func (f *Fleet) lives(ctx context.Context, m *member, r *engine.Request) bool {
	select {
	case m.asking <- struct{}{}:
		defer func() { <-m.asking }()
	case <-ctx.Done():
		return false
	}
	each := canaryFor(m.info, r).Seconds
	n := int(math.Ceil(controlTimes * min(r.Seconds/each, maxControl)))
	for range min(max(n, minControl), maxControl) {
		switch p, settled := f.inquire(ctx, m, r); {
		case p == voiceless: // the text will meet the same
			return true
		case settled && p != canary:
			return false
		}
	}
	return true
}
