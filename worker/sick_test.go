package worker

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/api/jobdoc"
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

// Whoever asks for a job is told what it waits for: the row is what the gateway reads.
func TestASickPoolIsSeenInPostgres(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var cause atomic.Pointer[job.Error]
	cause.Store(&job.Error{Op: "scripted", Kind: job.Invalid})
	e := &scripted{before: func(context.Context, int, []engine.Request) error {
		if err := cause.Load(); err.Kind != job.Internal {
			return err
		}
		return nil
	}}
	stop := w.start(t, quickConfig(), e, nil)
	p := w.insert(t, job.FailJob, plantest.Sentences("One", texts(3)...))
	require.Eventually(t, func() bool { return w.waits(t, p) == "test misconfigured" }, within, 50*time.Millisecond)
	cause.Store(&job.Error{Op: "scripted", Kind: job.Unavailable})
	require.Eventually(t, func() bool { return w.waits(t, p) == "test sick" }, within, 50*time.Millisecond)
	cause.Store(&job.Error{Op: "scripted"})
	require.Equal(t, job.StateSucceeded, plantest.AwaitEnd(t, w.db, p, within))
	require.Empty(t, w.waits(t, p))

	require.Eventually(t, func() bool { return w.number(t, `select count(*) from pool_waiting('test')`) == 0 }, within, 50*time.Millisecond)
	stop()
	require.Empty(t, w.waits(t, w.insert(t, job.FailJob, plantest.Sentences("One", "Later."))), "it may only be starting anew")
	_, err := w.db.Exec(t.Context(), `update pool_workers set seen_at = now() - interval '1 minute'`)
	require.NoError(t, err)
	var reason string
	require.NoError(t, w.db.QueryRow(t.Context(), `select reason from pool_waiting('test')`).Scan(&reason))
	require.Equal(t, "gone", reason)
}

// waits returns the pool that a job waits for and why; empty if it does not.
func (w *world) waits(t *testing.T, p plantest.Plan) string {
	t.Helper()
	var r jobdoc.Row
	require.NoError(t, w.db.QueryRow(t.Context(), jobdoc.SelectJob(), p.ID).Scan(r.Targets()...))
	d, err := jobdoc.Build(&r, time.Now())
	require.NoError(t, err)
	if d.Waiting == nil {
		return ""
	}
	require.WithinDuration(t, time.Now(), d.Waiting.Since.Time, within)
	return d.Waiting.Pool + " " + d.Waiting.Reason
}
