package hear

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/worker/internal/engine"
	"github.com/voicemill/voicemill/worker/internal/listen/transcribe"
	"github.com/voicemill/voicemill/worker/internal/meter"
)

// Ear is one recogniser; package transcribe has the one.
type Ear interface {
	// Hear returns what is said in audio in a language, a BCP 47 tag. The error is a
	// *job.Error, as package transcribe describes it.
	Hear(ctx context.Context, audio engine.Audio, language string) (transcribe.Transcript, error)
	// Close ends calls in progress. A second call does nothing.
	Close() error
}

// Config says how ears are used.
type Config struct {
	Window   int           // segments with one ear at once
	Patience time.Duration // how long segments wait for ears none of which is well
	Share    float64       // of the segments of a job that has a sample heard, beside what looks odd
	Meter    *meter.Meter  // may be nil
	Log      *slog.Logger
}

// Validate reports the first setting that makes no sense.
func (c Config) Validate() error {
	if c.Window < 1 || c.Patience < 0 || !(c.Share >= 0 && c.Share <= 1) {
		return fmt.Errorf("ears: window %d must be positive, patience %s not negative, share %g from 0 to 1", c.Window, c.Patience, c.Share)
	}
	return nil
}

const (
	// An ear of the worker's own that failed so often in a row is started anew.
	restartAfter = 3
	firstRest    = 250 * time.Millisecond
	maxRest      = 30 * time.Second
	maxAsked     = 10 * time.Minute // of a rest that an ear asks for
	// So many refusals in a row are no fault of the audio.
	maxRefused = 3
	// An ear that is full so often in a row is as good as away.
	maxFull = 6
	// So often a segment may find an ear failing.
	maxFailures = 2
)

var (
	errAway    = errors.New("no ear is well")
	errRefuses = errors.New("it refuses everything: is its configuration right?")
)

// Ears are the recognisers of a worker. They are safe for concurrent use.
type Ears struct {
	cfg    Config
	voices histories

	mu      sync.Mutex
	members []*member     // the slice itself does not change
	away    time.Time     // under mu: since when none is well; zero while one is
	asked   time.Time     // under mu: when one was wanted last
	changed chan struct{} // under mu; closed and replaced at each change
}

// member is one ear. What follows the first two is under Ears.mu.
type member struct {
	name string
	ear  Ear

	inFlight int
	until    time.Time // it is left alone
	failed   int       // rests in a row
	sick     bool      // it failed last, or has not answered yet: one request finds out
	refused  int       // in a row
}

// New returns Ears. Each must answer once before it gets more than one request. Close
// closes them.
func New(cfg Config, ears ...Ear) (*Ears, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if len(ears) == 0 {
		return nil, errors.New("ears: none")
	}
	e := &Ears{cfg: cfg, changed: make(chan struct{})}
	for i, ear := range ears {
		e.members = append(e.members, &member{name: fmt.Sprintf("ear-%d", i), ear: ear, sick: true})
	}
	cfg.Meter.Ears(0, len(ears))
	return e, nil
}

// Close closes the ears.
func (e *Ears) Close() error {
	errs := make([]error, len(e.members))
	for i, m := range e.members {
		errs[i] = m.ear.Close()
	}
	return errors.Join(errs...)
}

// transcript has some ear hear audio. An error says that it stays unheard.
func (e *Ears) transcript(ctx context.Context, audio engine.Audio, language string) (transcribe.Transcript, error) {
	for failures := 0; ; {
		m, err := e.take(ctx)
		if err != nil {
			return transcribe.Transcript{}, err
		}
		begun := time.Now()
		t, err := m.ear.Hear(ctx, audio, language)
		e.give(ctx, m, err, time.Since(begun))
		if err == nil || ctx.Err() != nil {
			return t, err
		}
		switch job.KindOf(err) {
		case job.Overloaded, job.Unavailable: // the audio was never looked at
		case job.Invalid:
			return transcribe.Transcript{}, err
		default:
			if failures++; failures == maxFailures {
				return transcribe.Transcript{}, err
			}
		}
	}
}

// take waits for an ear that has room.
func (e *Ears) take(ctx context.Context) (*member, error) {
	begun := time.Now()
	for {
		e.mu.Lock()
		now := time.Now()
		if !e.away.IsZero() && now.Sub(e.asked) > e.cfg.Patience { // nobody has found out how they are now
			e.away = now
		}
		e.asked = now
		if m := e.free(now); m != nil {
			m.inFlight++
			e.mu.Unlock()
			return m, nil
		}
		wake, changed := time.Time{}, e.changed
		if !e.away.IsZero() {
			if wake = e.giveUp(begun); !now.Before(wake) {
				e.mu.Unlock()
				return nil, &job.Error{Op: "hear.take", Kind: job.Unavailable, Err: errAway}
			}
		}
		for _, m := range e.members {
			if m.until.After(now) && (wake.IsZero() || m.until.Before(wake)) {
				wake = m.until
			}
		}
		e.mu.Unlock()
		if err := wait(ctx, wake, changed); err != nil {
			return nil, err
		}
	}
}

// giveUp returns when one who began to wait at begun does so no longer. It needs the lock.
func (e *Ears) giveUp(begun time.Time) time.Time {
	if e.away.Before(begun) {
		return e.away.Add(e.cfg.Patience)
	}
	return begun.Add(e.cfg.Patience)
}

// free returns the ear with the most room; nil for none. It needs the lock.
func (e *Ears) free(now time.Time) (best *member) {
	for _, m := range e.members {
		room := e.cfg.Window
		if m.sick {
			room = 1
		}
		if m.inFlight < room && !now.Before(m.until) && (best == nil || m.inFlight < best.inFlight) {
			best = m
		}
	}
	return best
}

// give notes what m answered.
func (e *Ears) give(ctx context.Context, m *member, err error, took time.Duration) {
	e.mu.Lock()
	defer e.mu.Unlock()
	m.inFlight--
	now := time.Now()
	switch kind := job.KindOf(err); {
	case err != nil && ctx.Err() != nil: // the caller left
	case err == nil:
		m.failed, m.refused, m.sick, m.until = 0, 0, false, time.Time{}
	case kind == job.Overloaded:
		after, _ := engine.RetryAfter(err)
		m.until = now.Add(min(max(after, pause(m.failed)), maxAsked))
		if m.failed++; m.failed >= maxFull {
			m.sick = true
		}
	case kind == job.Invalid:
		if m.refused++; m.refused >= maxRefused {
			e.fall(ctx, m, now, fmt.Errorf("%w: %w", errRefuses, err))
		}
	default:
		e.fall(ctx, m, now, err)
	}
	e.settle(ctx, now, errors.Is(err, engine.ErrStarting))
	e.cfg.Meter.Heard(took, err)
	close(e.changed)
	e.changed = make(chan struct{})
}

// fall notes that m is sick. It needs the lock.
func (e *Ears) fall(ctx context.Context, m *member, now time.Time, err error) {
	rest := pause(m.failed)
	if errors.Is(err, engine.ErrStarting) { // whoever starts it says how that goes
		rest = min(rest, time.Second)
	} else if owned, ok := m.ear.(interface{ Restart(why string) }); ok && m.failed%restartAfter == restartAfter-1 {
		owned.Restart(err.Error())
	} else if !m.sick || m.failed%10 == 0 {
		e.cfg.Log.WarnContext(ctx, "an ear is sick", slog.String("ear", m.name), slog.String("error", err.Error()))
	}
	m.sick, m.until = true, now.Add(rest)
	m.failed++
}

// settle works out whether some ear is well. It needs the lock.
func (e *Ears) settle(ctx context.Context, now time.Time, starting bool) {
	well := 0
	for _, m := range e.members {
		if !m.sick {
			well++
		}
	}
	switch {
	case well > 0 && !e.away.IsZero():
		e.away = time.Time{}
		e.cfg.Log.InfoContext(ctx, "what is spoken is heard")
	case well == 0 && e.away.IsZero():
		e.away = now
		level, says := slog.LevelWarn, "no ear is well: segments wait for a while, and then go unheard"
		if starting {
			level, says = slog.LevelInfo, "the ear is started: segments wait for it"
		}
		e.cfg.Log.Log(ctx, level, says, slog.Duration("patience", e.cfg.Patience))
	}
	e.cfg.Meter.Ears(well, len(e.members)-well)
}

// pause is how long the n-th rest in a row is.
func pause(n int) time.Duration { return min(firstRest<<min(n, 16), maxRest) }

// wait returns at a time, which may be zero, when changed is closed or ctx ends, which
// is an error.
func wait(ctx context.Context, until time.Time, changed <-chan struct{}) error {
	var due <-chan time.Time
	if !until.IsZero() {
		timer := time.NewTimer(time.Until(until))
		defer timer.Stop()
		due = timer.C
	}
	select {
	case <-due:
	case <-changed:
	case <-ctx.Done():
		return &job.Error{Op: "hear.take", Kind: job.Unavailable, Err: context.Cause(ctx)}
	}
	return nil
}
