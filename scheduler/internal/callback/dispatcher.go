package callback

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/platform/lifecycle"
	"github.com/voicemill/voicemill/scheduler/internal/store"
)

// The outcomes of an attempt, as [Dispatcher] reports them.
const (
	Delivered = "delivered"
	Retrying  = "retrying"
	Failed    = "failed"
)

const (
	settleTime  = 20 * time.Millisecond  // so that hints are taken together
	crowdedWait = 200 * time.Millisecond // for a delivery whose host is busy
	pauseTo     = 5 * time.Second        // between tries while the database is away
)

// Deps are the parts a Dispatcher works with; all are needed.
type Deps struct {
	Log *slog.Logger
	// Changed is told the version of a job that a receiver is about to be shown.
	Changed func(id job.ID, version int64)
	// Observe is told the outcome of every attempt, and the cause, one of
	// [Causes], if it did not succeed.
	Observe func(outcome, cause string)
}

// Dispatcher sends callbacks. Create it with [New]; Hint may be called by any
// goroutine at any time, Run by one at a time.
type Dispatcher struct {
	cfg    Config
	deps   Deps
	leased *store.Leased // of the term that Run runs in
	waits  []time.Duration
	client *http.Client
	nudge  lifecycle.Signal
}

// New returns a Dispatcher that is not running yet.
func New(cfg Config, deps Deps) *Dispatcher {
	return &Dispatcher{cfg: cfg, deps: deps, waits: schedule(), client: newClient(cfg), nudge: lifecycle.NewSignal()}
}

// Hint says that something may be due. It never blocks.
func (d *Dispatcher) Hint() { d.nudge.Raise() }

// Run sends what is due under the lease of s until ctx is done, waits for what is on its way, as
// far as the grace allows, and returns nil. Faults of the database are logged
// and waited out.
func (d *Dispatcher) Run(ctx context.Context, s *store.Leased) error {
	d.leased = s
	work, cancel := lifecycle.Linger(ctx, d.cfg.Grace)
	defer cancel()
	defer d.client.CloseIdleConnections()
	f := flight{hosts: newHosts(d.cfg.PerHost), tenants: map[job.Tenant]int{}, landed: make(chan landing, d.cfg.Concurrency)}
	defer func() {
		for f.total > 0 { // each ends with work at the latest
			f.land(<-f.landed)
		}
	}()
	tick := time.NewTicker(d.cfg.Tick)
	defer tick.Stop()
	pause, last := time.Duration(0), ""
	for {
		more, err := d.round(ctx, work, &f)
		if err != nil {
			if err.Error() != last && ctx.Err() == nil {
				last = err.Error()
				d.deps.Log.WarnContext(ctx, "callbacks wait", slog.String("error", last))
			}
			pause = min(max(2*pause, d.cfg.Tick), pauseTo)
			if !lifecycle.Sleep(ctx, pause) {
				return nil
			}
			continue
		}
		pause, last = 0, ""
		if more && ctx.Err() == nil {
			continue
		}
		select {
		case <-ctx.Done():
			return nil
		case l := <-f.landed:
			f.land(l)
		case <-d.nudge:
			if !lifecycle.Sleep(ctx, settleTime) {
				return nil
			}
		case <-tick.C:
		}
	}
}

// flight counts the attempts that are on their way. Only the goroutine of Run
// touches it; attempts report on landed, which has room for all of them.
type flight struct {
	hosts   *hosts
	tenants map[job.Tenant]int
	total   int
	landed  chan landing
	freed   bool // what an older version left held
}

// landing is the end of an attempt.
type landing struct {
	host     string
	tenant   job.Tenant
	answered bool // the receiver did, whatever it said
}

func (f *flight) start(host string, tenant job.Tenant) {
	f.hosts.start(host)
	f.tenants[tenant]++
	f.total++
}

func (f *flight) land(l landing) {
	f.total--
	f.hosts.land(l.host, l.answered, time.Now())
	if f.tenants[l.tenant]--; f.tenants[l.tenant] == 0 {
		delete(f.tenants, l.tenant)
	}
}

// sated returns the tenants that have their share of the attempts.
func (f *flight) sated(perTenant int) []job.Tenant {
	var list []job.Tenant
	for t, n := range f.tenants {
		if n >= perTenant {
			list = append(list, t)
		}
	}
	return list
}

// round starts as many attempts as there is room for. more says that others
// may be due and there is room left.
func (d *Dispatcher) round(ctx, work context.Context, f *flight) (more bool, err error) {
	for landed := true; landed; {
		select {
		case l := <-f.landed:
			f.land(l)
		default:
			landed = false
		}
	}
	room := d.cfg.Concurrency - f.total
	if room == 0 {
		return false, nil
	}
	if !f.freed {
		if err := d.leased.FreeDeliveries(ctx); err != nil {
			return false, fmt.Errorf("free callbacks that were held: %w", err)
		}
		f.freed = true
	}
	due, err := d.leased.ClaimDeliveries(ctx, room, d.cfg.Lease, f.hosts.busy(time.Now()), f.sated(d.cfg.PerTenant))
	if err != nil {
		return false, fmt.Errorf("claim callbacks: %w", err)
	}
	for _, one := range due {
		host := hostOf(one.URL)
		if !f.hosts.room(host, time.Now()) || f.tenants[one.Tenant] >= d.cfg.PerTenant {
			if err := d.leased.PostponeDelivery(work, one.ID, crowdedWait); err != nil {
				return false, fmt.Errorf("postpone callback %s: %w", one.ID, err)
			}
			continue
		}
		f.start(host, one.Tenant)
		go func() { // Run waits for it
			l := landing{host: host, tenant: one.Tenant, answered: true}
			defer func() { f.landed <- l }()
			l.answered = d.deliver(work, one)
		}()
	}
	return len(due) == room && f.total < d.cfg.Concurrency, nil
}

// hostOf returns host and port as they stand in a URL, as the query that skips
// busy hosts sees them.
func hostOf(raw string) string {
	u, err := url.Parse(raw)
	if err != nil {
		return ""
	}
	return strings.ToLower(u.Host)
}

// deliver makes one attempt and records it. It reports whether the receiver
// answered; an attempt that was not made says nothing against it.
func (d *Dispatcher) deliver(ctx context.Context, one store.Delivery) (answered bool) {
	log := d.deps.Log.With(slog.String("tenant", string(one.Tenant)), slog.String("delivery", one.ID), slog.String("job_id", string(one.JobID)), slog.String("event", one.Event))
	if err := d.ensureBody(ctx, &one); err != nil {
		log.WarnContext(ctx, "callback not built; it is tried again", slog.String("error", err.Error()))
		return true
	}
	start := time.Now()
	got, err := post(ctx, d.client, one, start)
	if err != nil {
		log.ErrorContext(ctx, "callback cannot be sent", slog.String("error", err.Error()))
		got = answer{cause: causeOurs, text: "The callback could not be prepared because of a fault on our side."}
	}
	if ctx.Err() != nil && !got.ok() {
		return true // we interrupted it: the claim runs out and it is sent again
	}
	answered = got.status != 0 || got.cause == causeOurs || got.cause == causeRefused
	a, outcome := d.judge(one, got)
	a.Duration = time.Since(start)
	if err := d.leased.SettleDelivery(ctx, one.ID, a); err != nil {
		log.WarnContext(ctx, "attempt not recorded; it is made again", slog.String("error", err.Error()))
		return answered
	}
	d.deps.Observe(outcome, got.cause)
	if outcome != Delivered { // the rest of the URL may be a secret
		log.WarnContext(ctx, "callback not taken", slog.String("host", hostOf(one.URL)), slog.Int("attempt", a.N), slog.Int("status", a.Status),
			slog.String("cause", got.cause), slog.String("reason", a.Error), slog.String("outcome", outcome), slog.Duration("again_in", a.Wait))
	}
	d.Hint() // the next event of the job may be free to go
	return answered
}

// judge decides what an answer means for a delivery.
func (d *Dispatcher) judge(one store.Delivery, got answer) (store.Attempt, string) {
	a := store.Attempt{N: one.Attempts + 1, Status: got.status, Error: got.text, State: "pending"}
	pause, again := wait(d.waits, a.N, got.retryAfter, rand.Float64())
	switch {
	case got.ok():
		a.State = "delivered"
		return a, Delivered
	case got.gone(), !again:
		a.State = "failed"
		return a, Failed
	}
	a.Wait = pause
	return a, Retrying
}

// ensureBody builds the body at the first attempt; later ones send the same bytes.
func (d *Dispatcher) ensureBody(ctx context.Context, one *store.Delivery) error {
	if one.Payload != "" {
		return nil
	}
	doc, err := d.leased.Document(ctx, one.JobID)
	if err != nil {
		return fmt.Errorf("read the job: %w", err)
	}
	d.deps.Changed(doc.ID, doc.Version) // a gateway that the receiver asks must not show an older one
	text, err := body(*one, doc)
	if err != nil {
		return &job.Error{Op: "callback.ensureBody", JobID: one.JobID, Kind: job.Internal, Err: err}
	}
	if one.Payload, err = d.leased.SavePayload(ctx, one.ID, text); err != nil {
		return fmt.Errorf("store the body: %w", err)
	}
	return nil
}
