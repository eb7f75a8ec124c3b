package fleet

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/worker/internal/engine"
)

// wake has m asked for a canary at once when it has come to life.
func (f *Fleet) wake(m *member, woken <-chan struct{}) {
	for {
		select {
		case <-woken:
			f.change(func(now time.Time) { m.canaryAt = now })
		case <-f.life.Done():
			return
		}
	}
}

// watch asks m for a canary whenever one is due, until the fleet is closed.
func (f *Fleet) watch(m *member) {
	for f.life.Err() == nil {
		f.mu.Lock()
		due, sing, changed := m.restUntil, m.phase != well, f.changed
		if sing {
			due = m.canaryAt
		} else if !time.Now().Before(due) {
			due = time.Time{}
		}
		f.mu.Unlock()
		if !sing || time.Now().Before(due) {
			if wait(f.life, due, changed) != nil {
				return
			}
			if !sing && !due.IsZero() && !time.Now().Before(due) {
				f.change(func(time.Time) {}) // it has rested
			}
			continue
		}
		m.asking <- struct{}{} // whoever has it gives it back in bounded time
		f.mu.Lock()
		sing = m.phase != well // somebody may have asked meanwhile
		f.mu.Unlock()
		if sing {
			f.inquire(f.life, m, nil)
		}
		<-m.asking
	}
}

// question finds out whether m, which failed with r in a call before its call
// number doubt ended, speaks otherwise. The end of ctx counts as unwell.
func (f *Fleet) question(ctx context.Context, m *member, r *engine.Request, doubt uint64) proof {
	f.change(func(time.Time) { m.questions++ })
	defer f.change(func(time.Time) { m.questions-- })
	select {
	case m.asking <- struct{}{}:
		defer func() { <-m.asking }()
	case <-ctx.Done():
		return unwell
	}
	for {
		f.mu.Lock()
		phase, asked := m.phase, m.asked
		f.mu.Unlock()
		if asked.call > doubt && asked.voice == r.Voice && asked.language == r.Language {
			return asked.proof // somebody asked since
		}
		if phase != well || ctx.Err() != nil {
			return unwell
		}
		if p, settled := f.inquire(ctx, m, r); settled {
			return p
		}
	}
}

// inquire asks m for one canary, in the voice of r if that is not nil. settled is
// false if it must speak another one to be believed. The caller holds m.asking.
func (f *Fleet) inquire(ctx context.Context, m *member, r *engine.Request) (p proof, settled bool) {
	var c call
	restart := false
	f.change(func(now time.Time) { c = m.begin(now, 1) })
	err := f.sing(ctx, m, r)
	if err == nil {
		err = f.admit(ctx, m)
	}
	if r != nil && misconfigured(err) && !errors.Is(err, engine.ErrRefused) {
		if f.sing(ctx, m, nil) == nil {
			f.log.ErrorContext(ctx, "the engine refuses a voice", slog.String("backend", m.name), slog.String("voice", r.Voice), slog.String("error", err.Error()))
			p = voiceless
		}
	}
	f.change(func(now time.Time) {
		m.end(now, c, 1, 0)
		switch fault := faultOf(ctx, err, true); {
		case p == voiceless:
			settled = true
		case fault == none:
			m.stall = false
			if settled = m.canarySpoke(now); settled {
				p = canary
			}
		case fault == stopped:
			p, settled = unwell, true
			return // nothing was learnt
		case fault == full:
			after, _ := engine.RetryAfter(err)
			m.full(now, after)
			m.canaryAt = m.restUntil
			p, settled = unwell, true
			return
		case errors.Is(err, engine.ErrStarting):
			m.starts(now, reason(err))
			p, settled = unwell, true
		default:
			m.admitted = m.admitted && fault != away // who comes back may be another build
			m.canaryFailed(now, reason(err), misconfigured(err))
			p, settled = unwell, true
			restart = m.failed >= restartAfter && !m.wrong
		}
		if r != nil && settled {
			m.asked = inquiry{call: c.number, voice: r.Voice, language: r.Language, proof: p}
		}
	})
	if o, ok := m.driver.(engine.Owned); ok && restart {
		o.Restart(reason(err))
	}
	f.cfg.Meter.Canary(f.cfg.Pool, err)
	f.report(ctx, m, err)
	return p, settled
}

// admit admits m, which speaks a canary, if it is not admitted yet.
func (f *Fleet) admit(ctx context.Context, m *member) error {
	if _, owned := m.driver.(engine.Owned); owned || f.cfg.Admission == nil {
		return nil
	}
	f.mu.Lock()
	admitted := m.admitted
	f.mu.Unlock()
	if admitted {
		return nil
	}
	err := f.cfg.Admission.Admit(ctx, m.driver, m.most)
	f.cfg.Meter.Admission(f.cfg.Pool, err)
	f.mu.Lock()
	m.admitted = err == nil
	f.mu.Unlock()
	return err //nolint:wrapcheck // it says who failed
}

// report logs what a canary showed.
func (f *Fleet) report(ctx context.Context, m *member, err error) {
	f.mu.Lock()
	failed, phase := m.failed, m.phase
	f.mu.Unlock()
	switch {
	case err == nil && phase == well:
		f.log.DebugContext(ctx, "the engine speaks", slog.String("backend", m.name))
	case errors.Is(err, engine.ErrStarting): // whoever starts it says how that goes
	case err == nil || f.life.Err() != nil || failed > 1 && failed%10 != 0: // it was said before
	case errors.Is(err, engine.ErrRefused):
		f.log.ErrorContext(ctx, "the engine is refused", slog.String("backend", m.name), slog.String("error", err.Error()))
	case misconfigured(err):
		f.log.ErrorContext(ctx, "the engine refuses everything: is its configuration right?", slog.String("backend", m.name), slog.String("error", err.Error()))
	default:
		f.log.WarnContext(ctx, "the engine is sick", slog.String("backend", m.name), slog.String("error", err.Error()))
	}
}

// reason says in short why an address is sick.
func reason(err error) string {
	text := job.PublicOf(err, "")
	if text == "" {
		text = "it cannot be reached"
	}
	return text
}
