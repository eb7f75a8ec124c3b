package plan

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/platform/lifecycle"
	"github.com/voicemill/voicemill/scheduler/internal/reader"
	"github.com/voicemill/voicemill/scheduler/internal/store"
)

// lane plans jobs of one kind: width batches at the same time.
type lane struct {
	p     *Planner
	name  string
	kind  store.Input
	batch int // jobs that are planned together
	width int
	wake  lifecycle.Signal // jobs were accepted

	// Only the goroutine of run touches these.
	adoptAt time.Time                // when jobs that nobody plans are looked for again
	after   map[job.Class]job.Tenant // whose turn was the last
	room    int                      // batches that may be begun
	dry     bool                     // the last look found less than it asked for
	through chan struct{}            // a batch is

	mu      sync.Mutex
	retries map[job.ID]*retry     // guarded by mu
	held    map[job.ID]job.Tenant // what is being planned; guarded by mu
}

type retry struct {
	due   time.Time
	pause time.Duration
}

func newLane(p *Planner, name string, kind store.Input, batch, width int) *lane {
	return &lane{p: p, name: name, kind: kind, batch: batch, width: width, wake: lifecycle.NewSignal()}
}

func (l *lane) run(ctx context.Context) {
	work, cancel := lifecycle.Linger(ctx, l.p.cfg.Grace)
	defer cancel()
	l.retries, l.held, l.after = map[job.ID]*retry{}, map[job.ID]job.Tenant{}, map[job.Class]job.Tenant{}
	l.adoptAt, l.room, l.through = time.Time{}, l.width, make(chan struct{}, l.width)
	last := ""
	for ctx.Err() == nil {
		err := l.round(work)
		if err != nil && err.Error() != last {
			l.p.deps.Log.WarnContext(ctx, "planning waits", slog.String("lane", l.name), slog.String("error", err.Error()))
		}
		last = ""
		if err != nil {
			last = err.Error()
		}
		l.await(ctx)
	}
	for l.room < l.width {
		<-l.through
		l.room++
	}
}

// await waits until there may be something to do. The end of a batch is no reason to
// look again if the last look left nothing: what came since has woken the lane, or, where
// its hint was lost, is found by the next poll, as is what has to be tried again.
func (l *lane) await(ctx context.Context) {
	timer := time.NewTimer(l.p.cfg.Poll)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
		case <-l.wake:
		case <-l.through:
			l.room++
			if l.dry {
				continue
			}
		case <-timer.C:
		}
		return
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
		case l.knows(i.ID):
		case i.Attempts >= l.p.cfg.Crashes: // if that is not stored, the next look finds it again
			l.p.fail(ctx, i.ID, &job.Error{Op: "plan.adopt", JobID: i.ID, Kind: job.Internal}, time.Now())
		default:
			l.mu.Lock()
			l.retries[i.ID] = &retry{pause: l.p.cfg.Backoff}
			l.mu.Unlock()
		}
	}
	return nil
}

// knows reports whether a job is being planned or waits to be planned again.
func (l *lane) knows(id job.ID) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	_, held := l.held[id]
	return held || l.retries[id] != nil
}

// round begins what there is room for: what is due again, each alone, and then
// batches of new jobs.
func (l *lane) round(ctx context.Context) error {
	l.dry = false
	if err := l.adopt(ctx); err != nil {
		return err
	}
	due, waiting := l.due()
	for _, id := range due {
		if l.room == 0 {
			return nil
		}
		claims, err := l.p.leased.ClaimAgain(ctx, id)
		if err != nil {
			return fmt.Errorf("claim a job again: %w", err)
		}
		if len(claims) == 0 { // cancelled meanwhile
			l.forget(id)
			continue
		}
		l.begin(ctx, claims)
	}
	for l.room > 0 && waiting < maxRetries {
		claims, err := l.claim(ctx)
		if err != nil {
			l.adoptAt = time.Time{} // it may have claimed some
			return fmt.Errorf("claim jobs: %w", err)
		}
		if len(claims) == 0 {
			return nil
		}
		l.begin(ctx, claims)
	}
	return nil
}

// due returns the jobs whose next try is due, and how many wait for one.
func (l *lane) due() (list []job.ID, waiting int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	for id, r := range l.retries {
		if _, held := l.held[id]; !held && !now.Before(r.due) {
			list = append(list, id)
		}
	}
	return list, len(l.retries)
}

func (l *lane) forget(id job.ID) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.retries, id)
}

// claim takes a batch of new jobs: interactive ones first, then bulk, of one
// tenant after the other. Where several batches are planned at once, the last
// place is for interactive jobs, and a tenant has half of the places.
func (l *lane) claim(ctx context.Context) (claims []store.Claim, err error) {
	l.dry = false
	interactive, bulk, err := l.p.leased.Waiting(ctx, l.kind)
	if err != nil {
		return nil, err
	}
	ask := store.Ask{Input: l.kind, Class: job.Interactive, Limit: l.batch, Without: l.sated()}
	if interactive {
		claims, err = l.claimOf(ctx, ask)
	}
	if err != nil || len(claims) == l.batch || l.width > 1 && l.room == 1 {
		return claims, err
	}
	ask.Class, ask.Limit = job.Bulk, l.batch-len(claims)
	if bulk {
		var more []store.Claim
		more, err = l.claimOf(ctx, ask)
		claims = append(claims, more...)
	}
	l.dry = err == nil && len(claims) < l.batch && len(ask.Without) == 0
	return claims, err
}

// claimOf goes round the tenants, from where the last batch ended.
func (l *lane) claimOf(ctx context.Context, ask store.Ask) ([]store.Claim, error) {
	ask.After = l.after[ask.Class]
	claims, err := l.p.leased.Claim(ctx, ask)
	var last, again job.Tenant // of those after the last batch's, and of those before
	for i := range claims {
		if t := claims[i].Tenant; t > ask.After {
			last = max(last, t)
		} else {
			again = max(again, t)
		}
	}
	l.after[ask.Class] = cmp.Or(again, last, ask.After)
	return claims, err
}

// sated returns the tenants that have their share of the places already.
func (l *lane) sated() (list []job.Tenant) {
	if l.width == 1 {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	has := map[job.Tenant]int{}
	for _, t := range l.held {
		if has[t]++; has[t] == l.width/2 {
			list = append(list, t)
		}
	}
	return list
}

// begin plans claims in a goroutine of their own.
func (l *lane) begin(ctx context.Context, claims []store.Claim) {
	l.room--
	l.mu.Lock()
	for i := range claims {
		l.held[claims[i].ID] = claims[i].Tenant
	}
	l.mu.Unlock()
	go func() { // run waits for it
		l.plan(ctx, claims)
		l.mu.Lock()
		for i := range claims {
			delete(l.held, claims[i].ID)
		}
		l.mu.Unlock()
		l.through <- struct{}{}
	}()
}

// plan plans claims and settles each.
func (l *lane) plan(ctx context.Context, claims []store.Claim) {
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

// inlineBytes returns how many bytes of text are planned with a job.
func inlineBytes(s *job.Spec) int {
	n := len(s.Input.Text) + len(s.Instructions)
	for i := range s.Input.Segments {
		n += len(s.Input.Segments[i].Text) + len(s.Input.Segments[i].Instructions)
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
		l.forget(claims[i].ID)
	}
	for _, p := range planned {
		l.p.deps.Planned(Outcome{
			Version: p.Version, Queued: true, Fresh: p.Fresh, Segments: p.Segments, Reused: p.Reused,
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
	case kind == job.Internal && c.Attempt < l.tries(err):
		log.ErrorContext(ctx, "plan failed, tried again")
		l.again(c)
	default:
		if kind == job.Internal {
			log.ErrorContext(ctx, "plan failed for good")
		}
		l.again(c) // until the failure is stored
		if l.p.fail(ctx, c.ID, err, start) {
			l.forget(c.ID)
		}
	}
}

// tries returns how often a job is tried that fails by a fault of ours.
func (l *lane) tries(err error) int {
	if errors.Is(err, reader.ErrKilled) {
		return l.p.cfg.Crashes
	}
	return l.p.cfg.Attempts
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
	l.mu.Lock()
	defer l.mu.Unlock()
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
