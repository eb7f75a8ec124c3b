package worker

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/worker/internal/engine"
	"github.com/voicemill/voicemill/worker/internal/plantest"
)

// A line of text is what a sick engine ends first: it has three attempts and nothing
// to hide behind.
func TestASickEngineFailsNotEvenAJobOfOneLine(t *testing.T) {
	t.Parallel()
	for name, cause := range map[string]error{
		"it fails":           &job.Error{Op: "scripted", Kind: job.Engine, Public: "The speech engine failed on this text."},
		"it knows no model":  &job.Error{Op: "scripted", Kind: job.Invalid, Public: "The speech engine refused this text."},
		"it is unreachable":  &job.Error{Op: "scripted", Kind: job.Unavailable},
		"it is silent":       nil,
		"it asks for a rest": &job.Error{Op: "scripted", Kind: job.Overloaded, Err: &engine.BusyError{After: 300 * time.Millisecond}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			var well atomic.Bool
			e := &scripted{}
			e.before = func(context.Context, int, []engine.Request) error {
				if well.Load() {
					return nil
				}
				return cause
			}
			e.mute = func() bool { return cause == nil && !well.Load() }
			w.start(t, quickConfig(), e, nil)
			p := w.insert(t, job.FailJob, plantest.Sentences("One", "A line."))
			time.AfterFunc(4*time.Second, func() { well.Store(true) })
			require.Equal(t, job.StateSucceeded, plantest.AwaitEnd(t, w.db, p, within))
			require.Equal(t, 1, w.attempts(t, p.ID), "an attempt was charged")
			w.checkBook(t, p.ID)
		})
	}
}
