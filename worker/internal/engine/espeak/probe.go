package espeak

import (
	"context"

	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/worker/internal/engine"
)

var _ engine.Prober = (*Engine)(nil)

// Probe implements [engine.Prober]: a helper is busy, runs, or has not been needed
// yet; or else one can be started.
func (e *Engine) Probe(ctx context.Context) error {
	held := make([]*slot, 0, e.cfg.Helpers)
	defer func() {
		for _, s := range held {
			e.free <- s
		}
	}()
	for range e.cfg.Helpers {
		select {
		case s := <-e.free:
			held = append(held, s)
			if s.failures == 0 || s.helper != nil && s.helper.alive() {
				return nil
			}
		default:
			return nil
		}
	}
	if err := held[0].ready(ctx); err != nil {
		return &job.Error{Op: "espeak.Probe", Kind: job.Unavailable, Public: "No helper process can be started.", Err: err}
	}
	return nil
}
