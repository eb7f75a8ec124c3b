package telemetry

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/platform/lifecycle"
)

const (
	checkEvery   = time.Second
	checkTimeout = 2 * time.Second
	checkSlack   = 500 * time.Millisecond // for a check to notice that its time is up
	// Until a check has passed for the first time a start waits for it.
	checkEveryFirst = 100 * time.Millisecond
	// So many results in a row change the verdict, so that a blip does not.
	failuresToFail   = 3
	successesToServe = 2
)

// Check says whether one thing that the process needs is there. It must return
// when ctx is done; one that does not counts as failed. An error with a method
// Warns() bool that returns true is shown and fails nothing.
type Check func(ctx context.Context) error

var (
	errCheckTimeout = errors.New("the check took too long")
	errCheckHangs   = errors.New("the check hangs")
)

// watched is one check and what came of it. A goroutine of its own asks, one
// request for /readyz never waits for it.
type watched struct {
	name    string
	check   Check
	log     *slog.Logger
	passing Gauge
	warning Gauge

	mu        sync.Mutex // guards what follows
	started   bool
	passed    bool   // ever
	ok        bool   // the verdict
	successes int    // in a row
	failures  int    // in a row
	detail    string // of the last result
}

func (w *watched) verdict() (detail string, ok bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case w.detail == "":
		return "not checked yet", false
	case w.ok && w.failures > 0:
		return "ok", true // a blip, so far
	case !w.ok && w.failures == 0:
		return "it is back; whether for good is not known yet", false
	}
	return w.detail, w.ok
}

// run checks until ctx is done.
func (w *watched) run(ctx context.Context) {
	for {
		w.once(ctx)
		pause := checkEvery
		if !w.everPassed() {
			pause = checkEveryFirst
		}
		if !lifecycle.Sleep(ctx, pause) {
			return
		}
	}
}

func (w *watched) everPassed() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.passed
}

// once runs the check once and notes its result, and that it hangs for as long
// as it does.
func (w *watched) once(ctx context.Context) {
	done := make(chan error, 1)
	go func() { // left behind if the check never returns
		bounded, cancel := context.WithTimeoutCause(ctx, checkTimeout, errCheckTimeout)
		defer cancel()
		err := w.check(bounded)
		if err != nil && bounded.Err() != nil && ctx.Err() == nil {
			err = &job.Error{Op: "telemetry.check", Kind: job.Unavailable, Public: job.PublicOf(err, "It does not answer in time."), Err: errors.Join(errCheckTimeout, err)}
		}
		done <- err
	}()
	late := time.NewTimer(checkTimeout + checkSlack)
	defer late.Stop()
	for {
		select {
		case err := <-done:
			if ctx.Err() == nil { // else the stop is what made it fail
				w.note(ctx, err)
			}
			return
		case <-ctx.Done():
			return
		case <-late.C:
			w.note(ctx, &job.Error{Op: "telemetry.check", Kind: job.Unavailable, Public: "It does not answer.", Err: errCheckHangs})
			late.Reset(checkEvery)
		}
	}
}

// note takes one result and says so where it changes the verdict.
func (w *watched) note(ctx context.Context, err error) {
	var warns interface{ Warns() bool }
	warned := errors.As(err, &warns) && warns.Warns()
	w.mu.Lock()
	before, first := w.ok, w.detail == ""
	w.detail = "ok"
	switch {
	case err == nil || warned:
		w.successes, w.failures = w.successes+1, 0
		if !w.passed || w.successes >= successesToServe {
			w.ok, w.passed = true, true
		}
		if warned {
			w.detail = "ok, but: " + job.PublicOf(err, job.KindOf(err).String())
		}
	default:
		w.detail = job.PublicOf(err, job.KindOf(err).String())
		w.successes, w.failures = 0, w.failures+1
		if w.failures >= failuresToFail {
			w.ok = false
		}
	}
	after := w.ok
	w.mu.Unlock()
	w.passing.Set(number(after))
	w.warning.Set(number(warned))
	switch {
	case after && !before:
		w.log.InfoContext(ctx, "check passes", slog.String("check", w.name))
	case before && !after, first && !after:
		w.log.WarnContext(ctx, "not ready", slog.String("check", w.name), slog.Any("error", err))
	}
}

func number(yes bool) float64 {
	if yes {
		return 1
	}
	return 0
}
