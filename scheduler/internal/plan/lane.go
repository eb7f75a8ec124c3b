package plan

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/platform/lifecycle"
	"github.com/voicemill/voicemill/scheduler/internal/store"
)

// lane plans jobs of one kind, one batch after the other.
type lane struct {
	p     *Planner
	name  string
	kind  store.Input
	claim func(*store.Leased, context.Context, int) ([]store.Claim, error)
	batch int
	wake  chan struct{}

	// Only its own goroutine touches these.
	retries map[job.ID]*retry
	adoptAt time.Time // when jobs that nobody plans are looked for again
}

type retry struct {
	due   time.Time
	pause time.Duration
}

func (l *lane) run(ctx context.Context) {
	work, cancel := lifecycle.Linger(ctx, l.p.cfg.Grace)
	defer cancel()
	l.retries, l.adoptAt = map[job.ID]*retry{}, time.Time{}
	last := ""
	for ctx.Err() == nil {
		busy, err := l.round(work)
		if err != nil && err.Error() != last {
			l.p.deps.Log.WarnContext(ctx, "planning waits", slog.String("lane", l.name), slog.String("error", err.Error()))
		}
		last = ""
		if err != nil {
			last = err.Error()
		}
		if busy && err == nil {
			continue
		}
		timer := time.NewTimer(l.p.cfg.Poll)
		select {
		case <-ctx.Done():
		case <-l.wake:
		case <-timer.C:
		}
		timer.Stop()
	}
}

// adopt takes over the jobs that are in planning and that nobody plans, now and
// then: those of a former leader, who may claim some after this one began, and
// those of a claim whose answer was lost on the way here. Between two batches
// that is every job that does not wait in retries. If a former leader is at it
// still, two plan the same and the state of the job lets one of them store it.
func (l *lane) adopt(ctx context.Context) error {
	if time.Now().Before(l.adoptAt) {
		return nil
	}
	left, err := l.p.leased.InterruptedPlans(ctx, l.kind)
	if err != nil {
		return fmt.Errorf("read interrupted plans: %w", err)
	}
	l.adoptAt = time.Now().Add(adoptPolls * l.p.cfg.Poll)
	for _, i := range left {
		switch {
		case l.retries[i.ID] != nil:
		case i.Attempts >= l.p.cfg.Crashes: // if that is not stored, the next look finds it again
			l.p.fail(ctx, i.ID, &job.Error{Op: "plan.adopt", JobID: i.ID, Kind: job.Internal}, time.Now())
		default:
			l.retries[i.ID] = &retry{pause: l.p.cfg.Backoff}
		}
	}
	return nil
}

// round plans what is due again, each alone, and then one batch of new jobs. It
// reports whether there was anything to do.
func (l *lane) round(ctx context.Context) (busy bool, err error) {
	if err := l.adopt(ctx); err != nil {
		return false, err
	}
	now := time.Now()
	for id, r := range l.retries {
		if now.Before(r.due) {
			continue
		}
		claims, err := l.p.leased.ClaimAgain(ctx, id)
		if err != nil {
			return busy, fmt.Errorf("claim a job again: %w", err)
		}
		if len(claims) == 0 { // cancelled meanwhile
			delete(l.retries, id)
			continue
		}
		busy = true
		l.plan(ctx, claims)
	}
	if len(l.retries) >= maxRetries {
		return busy, nil
	}
	claims, err := l.claim(l.p.leased, ctx, l.batch)
	if err != nil {
		l.adoptAt = time.Time{} // it may have claimed some
		return busy, fmt.Errorf("claim jobs: %w", err)
	}
	l.plan(ctx, claims)
	return busy || len(claims) == l.batch, nil
}

// plan plans claims and settles each.
func (l *lane) plan(ctx context.Context, claims []store.Claim) {
	if len(claims) == 0 {
		return
	}
	voices, err := l.p.leased.Voices(ctx)
	if err != nil {
		l.settleAll(ctx, claims, err, time.Now())
		return
	}
	casting := NewCasting(voices)
	for len(claims) > 0 {
		n, bytes := 0, 0
		for n < len(claims) && (n == 0 || bytes < l.p.cfg.BatchBytes) {
			bytes += inlineBytes(&claims[n].Spec)
			n++
		}
		l.planGroup(ctx, claims[:n], casting)
		claims = claims[n:]
	}
}

func inlineBytes(s *job.Spec) int {
	n := len(s.Input.Text)
	for i := range s.Input.Segments {
		n += len(s.Input.Segments[i].Text)
	}
	return n
}

// planGroup commits claims together; if that fails, each by itself, so that
// one cannot fail the others.
func (l *lane) planGroup(ctx context.Context, claims []store.Claim, casting *Casting) {
	start := time.Now()
	planned, errs := l.p.commit(ctx, claims, casting)
	if len(claims) > 1 && slices.ContainsFunc(errs, func(err error) bool { return err != nil }) {
		for i := range claims {
			if errs[i] != nil {
				l.planGroup(ctx, claims[i:i+1], casting)
			}
		}
		claims = slices.DeleteFunc(slices.Clone(claims), func(c store.Claim) bool {
			return !slices.ContainsFunc(planned, func(p store.Planned) bool { return p.ID == c.ID })
		})
		errs = make([]error, len(claims))
	}
	for i := range claims {
		if errs[i] != nil {
			l.settle(ctx, claims[i], errs[i], start)
			continue
		}
		delete(l.retries, claims[i].ID)
	}
	for _, p := range planned {
		l.p.deps.Planned(Outcome{
			Version: p.Version, Queued: true, Segments: p.Segments, Reused: p.Reused,
			Duration: time.Since(start) / time.Duration(len(claims)),
		})
	}
}

func (l *lane) settleAll(ctx context.Context, claims []store.Claim, err error, start time.Time) {
	for i := range claims {
		l.settle(ctx, claims[i], err, start)
	}
}

// settle decides what becomes of a job that could not be planned.
func (l *lane) settle(ctx context.Context, c store.Claim, err error, start time.Time) {
	kind := job.KindOf(err)
	log := l.p.deps.Log.With(slog.String("job_id", string(c.ID)), slog.Int("attempt", c.Attempt), slog.String("error", err.Error()))
	switch {
	case ctx.Err() != nil, store.Passing(err):
		log.InfoContext(ctx, "plan waits for a dependency")
		l.again(c)
		l.p.refund(ctx, c.ID)
	case kind == job.Internal && c.Attempt < l.p.cfg.Attempts:
		log.ErrorContext(ctx, "plan failed, tried again")
		l.again(c)
	default:
		if kind == job.Internal {
			log.ErrorContext(ctx, "plan failed for good")
		}
		l.again(c) // until the failure is stored
		if l.p.fail(ctx, c.ID, err, start) {
			delete(l.retries, c.ID)
		}
	}
}

// refund takes back an attempt. It is tried once, even after a stop: an attempt
// too many brings a job nearer to being given up, no more.
func (p *Planner) refund(ctx context.Context, id job.ID) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), refundTimeout)
	defer cancel()
	if err := p.leased.RefundPlanAttempt(ctx, id); err != nil {
		p.deps.Log.DebugContext(ctx, "plan attempt not taken back", slog.String("job_id", string(id)), slog.String("error", err.Error()))
	}
}

func (l *lane) again(c store.Claim) {
	r := l.retries[c.ID]
	if r == nil {
		r = &retry{pause: l.p.cfg.Backoff}
		l.retries[c.ID] = r
	}
	r.due = time.Now().Add(r.pause/2 + rand.N(r.pause))
	r.pause = min(2*r.pause, l.p.cfg.BackoffMax)
}

const sayOurs = "The document could not be planned because of a fault on our side; nothing is wrong with the request."

// fail ends a job and reports whether that is stored.
func (p *Planner) fail(ctx context.Context, id job.ID, err error, start time.Time) bool {
	done, serr := p.leased.FailPlan(ctx, id, job.KindOf(err), job.PublicOf(err, sayOurs))
	if serr != nil {
		p.deps.Log.WarnContext(ctx, "failure of a plan not stored", slog.String("job_id", string(id)), slog.String("error", serr.Error()))
		return false
	}
	for _, v := range done {
		p.deps.Planned(Outcome{Version: v, Kind: job.KindOf(err), Duration: time.Since(start)})
	}
	return true
}
