package release

import (
	"context"
	"time"

	"github.com/voicemill/voicemill/platform/bus"
	"github.com/voicemill/voicemill/scheduler/internal/fair"
	"github.com/voicemill/voicemill/scheduler/internal/store"
)

// Stepper is the loop of one term, which a test drives by hand.
type Stepper struct{ l *loop }

// NewStepper begins a term under the lease of s.
func NewStepper(cfg Config, deps Deps, s *store.Leased) *Stepper {
	return &Stepper{newLoop(New(cfg, deps), s)}
}

// Step takes one step, with a report of a worker before it. What the loop puts
// off for a while is looked at now.
func (s *Stepper) Step(ctx context.Context, c bus.Capacity) (more bool, err error) {
	s.l.looked, s.l.sweepAt = time.Time{}, time.Time{}
	s.l.waits.queue.next, s.l.waits.retry.next, s.l.waits.outbox.next = time.Time{}, time.Time{}, time.Time{}
	s.l.r.Capacity(c)
	return s.l.step(ctx)
}

// Pass makes what is out for joining as old as if an hour had passed.
func (s *Stepper) Pass() {
	for _, j := range s.l.joins {
		j.at = j.at.Add(-time.Hour)
	}
}

// Planned passes on what a plan hands on.
func (s *Stepper) Planned(p store.Planned) {
	if p.Fresh != nil {
		s.l.r.Fresh(p.ID, p.Fresh)
	}
}

// Settled passes the notes of a worker on.
func (s *Stepper) Settled(notes []bus.Settled) { s.l.r.Settled(notes) }

// Estimate says when jobs end, now.
func (s *Stepper) Estimate(ctx context.Context) {
	s.l.says.next = time.Time{}
	s.l.estimate(ctx)
}

// Clocks are the virtual times.
func (s *Stepper) Clocks() []fair.Clock { return s.l.turns.core.Snapshot() }

// Waiting is how much the loop keeps in memory of what waits, and of what is out.
func (s *Stepper) Waiting() (waiting, out int) { return s.l.waits.len(), len(s.l.out) }
