package release

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/platform/bus"
	"github.com/voicemill/voicemill/platform/lifecycle"
	"github.com/voicemill/voicemill/platform/pg"
	"github.com/voicemill/voicemill/scheduler/internal/store"
)

// Deps are the parts a Releaser works with; all are needed.
type Deps struct {
	Bus *bus.Bus
	Log *slog.Logger
	// Observe is told of every change that metrics show.
	Observe func(Event)
}

// Event is something that a Releaser did or saw.
type Event struct {
	Pool     string // bus.PoolAssemble for joins, bus.PoolEncode for encodings
	Class    job.Class
	Released int           // segments or joins let out
	Swept    int           // bundles or joins published again
	Out      int           // change of what is out
	Step     time.Duration // of a step that let something out; of all pools together
	Told     *Told         // how an estimate turned out; nothing else is set
}

// Releaser is the loop. Create it with [New]; Notice, Fresh, Hint, Settled and Capacity
// may be called by any goroutine at any time, Run by one at a time.
type Releaser struct {
	cfg      Config
	deps     Deps
	notices  chan notice
	fresh    lifecycle.Signal // there are notices
	nudge    lifecycle.Signal
	settled  chan []bus.Settled
	capacity chan bus.Capacity
}

// New returns a Releaser that is not running yet.
func New(cfg Config, deps Deps) *Releaser {
	if cfg.SweepAfter == 0 { // whoever holds it gave a sign of life meanwhile, or the bus gave it to somebody else
		cfg.SweepAfter = 2 * deps.Bus.AckWait()
	}
	return &Releaser{
		cfg: cfg, deps: deps, notices: make(chan notice, noticeBacklog), fresh: lifecycle.NewSignal(), nudge: lifecycle.NewSignal(),
		settled: make(chan []bus.Settled, noteBacklog), capacity: make(chan bus.Capacity, noteBacklog),
	}
}

// notice is a job that has segments to release.
type notice struct {
	id    job.ID
	fresh *store.Fresh // nil: it is to be read
}

// Notice says that jobs have segments to release. It never blocks; what does
// not fit is found by the scan.
func (r *Releaser) Notice(ids ...job.ID) {
	for _, id := range ids {
		r.announce(notice{id: id})
	}
}

// Fresh is Notice for a job that was just planned, with what is to be known of it.
func (r *Releaser) Fresh(id job.ID, f *store.Fresh) { r.announce(notice{id, f}) }

func (r *Releaser) announce(n notice) {
	select {
	case r.notices <- n:
	default:
		return
	}
	r.fresh.Raise()
}

// Hint says that something changed: a chapter may be due. It never blocks.
func (r *Releaser) Hint() { r.nudge.Raise() }

// Settled says that segments are settled. It never blocks; what does not fit is
// seen on the next tick.
func (r *Releaser) Settled(notes []bus.Settled) {
	select {
	case r.settled <- notes:
	default:
	}
	r.Hint()
}

// Capacity says what a worker can take. It never blocks; the next report comes
// in a second.
func (r *Releaser) Capacity(c bus.Capacity) {
	select {
	case r.capacity <- c:
	default:
	}
	r.Hint()
}

// Run releases work under the lease of s until ctx is done or the lease is lost, then
// finishes the step in hand and returns nil. Faults of the database and the bus
// are logged and waited out: shortly while they are away, and longer and longer
// while a statement is refused for a reason that trying does not change.
func (r *Releaser) Run(ctx context.Context, s *store.Leased) error {
	work, cancel := lifecycle.Linger(ctx, r.cfg.Grace)
	defer cancel()
	l := newLoop(r, s)
	defer l.forget()
	tick := time.NewTicker(r.cfg.Tick)
	defer tick.Stop()
	pause, last := pauseFrom, ""
	for ctx.Err() == nil {
		more, err := l.step(work)
		switch {
		case ctx.Err() != nil || pg.IsLeaseLost(err):
			return nil // the stop cut it short, or there is another leader
		case err == nil:
			pause, last = pauseFrom, ""
			if more {
				continue
			}
			r.await(ctx, tick.C)
			continue
		}
		if err.Error() != last {
			last = err.Error()
			r.deps.Log.WarnContext(ctx, "release waits", slog.String("error", last), slog.String("kind", job.KindOf(err).String()))
		}
		lifecycle.Sleep(ctx, pause)
		longest := pauseFault
		if job.Retryable(err) {
			longest = pauseAway
		}
		pause = min(2*pause, longest)
	}
	return nil
}

// await waits until there is something to do. Hints and notes of a while are taken
// together; a job that was planned waits for no others.
func (r *Releaser) await(ctx context.Context, tick <-chan time.Time) {
	settle := time.NewTimer(settleTime)
	defer settle.Stop()
	select {
	case <-ctx.Done():
	case <-r.fresh:
		return
	case <-settle.C:
	}
	select {
	case <-ctx.Done():
	case <-r.fresh:
	case <-r.nudge:
	case <-tick:
	}
}

// atOnce lets out what was just planned, as far as there is room for it, before all
// that can wait: somebody may listen. What the bus does not take stays to be published
// later in the step, after a WORK that was lost is made anew: were it a fault here, a
// steady flow of plans would keep every step from getting there.
func (l *loop) atOnce(ctx context.Context, begin time.Time) error {
	if !l.known || len(l.r.notices) == 0 {
		return nil
	}
	if err := l.learnNotices(ctx); err != nil {
		return err
	}
	if _, err := l.release(ctx); err != nil {
		return err
	}
	let := len(l.unsent) + len(l.unsentJoins)
	switch err := l.publish(ctx); {
	case err == nil && let > 0:
		l.r.deps.Observe(Event{Step: time.Since(begin)})
	case err != nil && !job.Retryable(err):
		return err
	}
	return nil
}

// step brings what is out up to date once. It reports whether another step has
// something to do at once. An error may leave the outcome of a write unknown;
// what is in memory is then read again.
func (l *loop) step(ctx context.Context) (more bool, err error) {
	begin := time.Now()
	l.hear()
	if err := l.atOnce(ctx, begin); err != nil {
		return false, fmt.Errorf("release what was just planned: %w", err)
	}
	for _, part := range []struct {
		name string
		do   func(context.Context) error
	}{
		{"publish what is out again", l.recover},
		{"look after what is out", l.look},
		{"read anew what commands changed", l.reread},
		{"find what waits", l.learn},
		{"sweep what is out", l.sweep},
		{"publish", l.publish},
	} {
		if err := part.do(ctx); err != nil {
			return false, fmt.Errorf("%s: %w", part.name, err)
		}
	}
	more, err = l.release(ctx)
	if err != nil {
		return false, fmt.Errorf("release: %w", err)
	}
	let := len(l.unsent) + len(l.unsentJoins)
	if err = l.publish(ctx); err == nil && let > 0 {
		l.r.deps.Observe(Event{Step: time.Since(begin)})
	}
	l.estimate(ctx)
	return more, err
}
