package operation

import (
	"context"
	"time"

	"github.com/voicemill/voicemill/gateway/internal/limit"
	"github.com/voicemill/voicemill/gateway/internal/problem"
	"github.com/voicemill/voicemill/gateway/internal/store"
	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/platform/lifecycle"
)

const (
	longestPause = 5 * time.Second // for a limit of the caller's or a slow intake, before a job is refused
	loadPause    = 100 * time.Millisecond
)

// Batch hands in many jobs, which become durable in groups.
type Batch struct {
	o *Operations
	c *Caller
	// flush is called before the batch waits: who has waited longest gets an answer.
	flush func() error

	burdened bool // the intake did not take the last job, though it was waited for
}

// Batch begins a batch. flush is called before it waits for a limit; the batch ends if
// that fails.
func (o *Operations) Batch(ctx context.Context, c *Caller, flush func() error) (*Batch, error) {
	return &Batch{o: o, c: c, flush: flush}, o.ready(ctx)
}

// Entry is one job of a batch.
type Entry struct {
	Submission
	ID  job.ID
	Err error // why there is none

	own    owned
	source source
}

// settled reports whether nothing more is to be done for an entry.
func (e *Entry) settled() bool { return e.Err != nil || e.own.arrived }

// Check finds out whether an entry can be accepted. It counts it against the limits
// of its caller, as a request of its own. A limit that lets it pass soon is waited
// for, and so is an intake that is slow: the client, which is not read meanwhile,
// sends less.
func (b *Batch) Check(ctx context.Context, e *Entry) error {
	faults := merge(e.Faults, b.o.faults(&e.Spec))
	found, err := b.o.lookUp(ctx, b.c, &e.Submission, &faults)
	if err != nil {
		return err
	}
	e.source = found
	if faults.Any() {
		return problem.Faulty(faults)
	}
	return b.admit(ctx, &e.Spec)
}

func (b *Batch) admit(ctx context.Context, spec *job.Spec) error {
	key, tenant := b.c.KeyID, string(b.c.Tenant)
	if !b.unburdened(ctx, spec.Class) {
		return problem.Shed(problem.Overloaded, shedReason(spec.Class), 0, sayOverloaded)
	}
	var v limit.Verdict
	passed := b.pace(ctx, func(at time.Time) time.Duration { v = b.o.dep.Guard.Request(key, tenant, at); return v.Wait }) &&
		b.pace(ctx, func(at time.Time) time.Duration {
			v = b.o.dep.Guard.Characters(key, tenant, spec.Characters(), at)
			return v.Wait
		})
	if !passed {
		return tooMany(v.Quota, v.Wait)
	}
	return nil
}

// unburdened reports whether the intake takes another job. Once it did not for
// longestPause, nothing is waited for until it does.
func (b *Batch) unburdened(ctx context.Context, class job.Class) bool {
	pause := loadPause
	if b.burdened {
		pause = longestPause + 1
	}
	b.burdened = !b.pace(ctx, func(at time.Time) time.Duration {
		if b.o.dep.Load.Admit(class, at) {
			return 0
		}
		return pause
	})
	return !b.burdened
}

// pace asks how long the next job has to wait and waits for it, if that is no
// longer than longestPause in all. It reports whether the job may pass.
func (b *Batch) pace(ctx context.Context, ask func(at time.Time) (wait time.Duration)) bool {
	until := time.Now().Add(longestPause)
	for {
		now := time.Now()
		wait := ask(now)
		if wait <= 0 || now.Add(wait).After(until) {
			return wait <= 0
		}
		if b.flush() != nil {
			return false // nobody reads what becomes of the job
		}
		if !lifecycle.Sleep(ctx, wait) {
			return false
		}
	}
}

// Commit makes the jobs of entries durable that have no error, and notes the id or
// the error of each.
func (b *Batch) Commit(ctx context.Context, entries []*Entry) {
	for _, e := range entries {
		if !e.settled() {
			b.o.normalize(&e.Spec)
			e.Err = b.mint(e)
		}
	}
	if err := b.claim(ctx, entries); err != nil {
		for _, e := range entries {
			if e.Err == nil && e.Once.Given {
				e.Err = err
			}
		}
	}
	b.reserve(ctx, entries)
	b.publish(entries)
	b.unreserve(ctx, entries)
	for _, e := range entries {
		e.ID = e.own.id
	}
}

// mint gives the job of an entry its id.
func (b *Batch) mint(e *Entry) error {
	id, err := b.o.dep.Minter.Mint(b.c.Tenant, time.Now())
	if err != nil {
		return &job.Error{Op: "operation.Batch", Kind: job.Internal, Err: err}
	}
	e.own.id = id
	e.own.at, _ = b.o.dep.Minter.Minted(id, b.c.Tenant)
	return nil
}

// claim finds the ids that entries got when the same batch came before. An entry
// whose job has arrived since is settled; others are sent again.
func (b *Batch) claim(ctx context.Context, entries []*Entry) error {
	var claims []store.Claim
	var claimed []*Entry
	for _, e := range entries {
		if !e.settled() && e.Once.Given {
			claims = append(claims, store.Claim{Key: e.Once.Key, Body: e.Once.Request, ID: string(e.own.id)})
			claimed = append(claimed, e)
		}
	}
	if len(claims) == 0 {
		return nil
	}
	if err := b.o.dep.Store.ClaimIdempotencyKeys(ctx, b.c.Tenant, claims); err != nil {
		return err
	}
	var again []job.ID
	for i, e := range claimed {
		owner := job.ID(claims[i].Owner)
		if owner == e.own.id {
			continue
		}
		at, ok := b.o.dep.Minter.Minted(owner, b.c.Tenant)
		if !ok {
			e.Err = problem.New(problem.KeyReused, "This line of a batch with this Idempotency-Key was another one before.")
			continue
		}
		e.own.id, e.own.at = owner, at
		again = append(again, owner)
	}
	if len(again) == 0 {
		return nil
	}
	found, err := b.o.dep.Store.Versions(ctx, again)
	for _, e := range claimed {
		_, e.own.arrived = found[e.own.id]
	}
	return err
}

// reserve takes places of the tenant's quota, in order. Those after the first that
// has none are refused with it.
func (b *Batch) reserve(ctx context.Context, entries []*Entry) {
	var places []store.Place
	var open []*Entry
	for _, e := range entries {
		if !e.settled() {
			places, open = append(places, store.Place{Job: e.own.id, Characters: e.Spec.Characters()}), append(open, e)
		}
	}
	got, err := b.o.reserveAll(ctx, b.c, places)
	if err == nil && got.Admitted < len(open) {
		err = overQuota(got, time.Now())
	}
	if err == nil {
		return
	}
	for _, e := range open[got.Admitted:] {
		e.Err = err
	}
}

// unreserve gives back the places of jobs that were not stored.
func (b *Batch) unreserve(ctx context.Context, entries []*Entry) {
	var free []job.ID
	for _, e := range entries {
		if notStored(e.Err) && e.own.id != "" {
			free = append(free, e.own.id)
		}
	}
	b.o.unreserveAll(ctx, b.c, free)
}

// publish hands the jobs to the intake and waits until it has settled them,
// which it does in bounded time.
func (b *Batch) publish(entries []*Entry) {
	settled := make(chan func(), len(entries)) // one for each job: the committer never waits
	sent := 0
	for _, e := range entries {
		if e.settled() {
			continue
		}
		p, err := payload(b.c, e.own, &e.Spec, e.source)
		if err == nil {
			err = b.o.dep.Intake.Queue(e.own.id, p, func(err error) {
				settled <- func() { e.Err = err }
			})
		}
		if err != nil {
			e.Err = err
			continue
		}
		sent++
	}
	for range sent {
		(<-settled)()
	}
}
