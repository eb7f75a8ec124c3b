package synth

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/platform/lifecycle"
	"github.com/voicemill/voicemill/worker/internal/consume"
	"github.com/voicemill/voicemill/worker/internal/deliver"
	"github.com/voicemill/voicemill/worker/internal/engine"
	"github.com/voicemill/voicemill/worker/internal/fleet"
	"github.com/voicemill/voicemill/worker/internal/meter"
	"github.com/voicemill/voicemill/worker/internal/store"
)

// Store tells what is still wanted.
type Store interface {
	// Begin tells of each segment whether it is still to be worked on.
	Begin(ctx context.Context, asks []store.Ask) ([]store.Answer, error)
	// PutHearing stores what was heard of a rendition that is there already.
	PutHearing(ctx context.Context, key, suffix string, h job.Hearing) error
}

// Deliverer makes outcomes durable; package deliver has the one.
type Deliverer interface {
	// Speech stores audio and settles the task.
	Speech(ctx context.Context, t deliver.Task, s deliver.Speech) error
	// Existing settles a task whose rendition is stored already.
	Existing(ctx context.Context, t deliver.Task) error
	// Stored returns the audio of a task whose rendition is stored already.
	Stored(ctx context.Context, t deliver.Task, suffix string) (engine.Audio, error)
	// Failure charges a failed attempt.
	Failure(ctx context.Context, t deliver.Task, cause error) error
	// Later lets a task come again after a while, uncharged.
	Later(ctx context.Context, t deliver.Task, cause error) error
	// Died lets a task come again alone, Guilty fails it: workers died with it.
	Died(ctx context.Context, t deliver.Task) error
	Guilty(ctx context.Context, t deliver.Task) error
}

// Fleet is the engines of a pool; package fleet has the one.
type Fleet interface {
	// Speak calls done once for each text, from several goroutines, before it returns.
	Speak(ctx context.Context, batch []engine.Request, done func(index int, a fleet.Answer))
}

// Config says how the calls of one pool are made.
type Config struct {
	Pool string
	Hold time.Duration // how long a database that is away is waited for
}

// Validate reports the first setting that makes no sense.
func (c Config) Validate() error {
	if c.Hold <= 0 {
		return fmt.Errorf("pool %s: hold %s must be positive", c.Pool, c.Hold)
	}
	return nil
}

// Deps are the parts that a Caller works with.
type Deps struct {
	Fleet   Fleet
	Store   Store
	Deliver Deliverer
	Ear     Ear // nil: nothing is heard
	Meter   *meter.Meter
	// Suspects has room for one: of the texts that workers died with, a process
	// has one at a time with its engines, so that the next death tells which it is.
	Suspects chan struct{}
	// Stores has room for as much audio as a process stores at a time. A call whose
	// audio finds no room goes on keeping its place with the engine.
	Stores chan struct{}
	Log    *slog.Logger
}

// Caller speaks the calls of one pool. It is safe for concurrent use.
type Caller struct {
	cfg   Config
	deps  Deps
	rates *rates
}

// New returns a Caller. The fleet stays the owner's to close.
func New(cfg Config, deps Deps) *Caller {
	deps.Log = deps.Log.With(slog.String("pool", cfg.Pool))
	return &Caller{cfg: cfg, deps: deps, rates: newRates()}
}

// EngineName returns how an engine is named in its voices and renditions. It
// is part of every rendition's key: what may sound different has another name.
func EngineName(i engine.Info, v engine.Voice) string {
	if v.Fingerprint == "" {
		return i.Model
	}
	return i.Model + " " + v.Fingerprint
}

// Call does all of one call; see [consume.Caller].
func (c *Caller) Call(ctx context.Context, items []*consume.Item, free func()) error {
	if len(items) > 0 && items[0].Bundle.Claim.Suspect() {
		select {
		case c.deps.Suspects <- struct{}{}:
			defer func() { <-c.deps.Suspects }()
		case <-ctx.Done():
			return nil // the items are given back
		}
	}
	r := &run{Caller: c}
	tasks, err := r.sift(ctx, items)
	if err == nil && len(tasks) > 0 {
		r.speak(ctx, tasks)
	}
	free()
	r.delivering.Wait()
	return errors.Join(err, r.away)
}

// Bury settles the items of one bundle whose workers died; see [consume.Caller].
func (c *Caller) Bury(ctx context.Context, items []*consume.Item) error {
	r := &run{Caller: c}
	for _, it := range items {
		bury := c.deps.Deliver.Died
		if it.Bundle.Claim.Guilty() {
			bury = c.deps.Deliver.Guilty
		}
		r.deps.Meter.Segment(r.cfg.Pool, meter.Died)
		r.delivering.Go(func() { r.note(bury(ctx, task(it))) })
	}
	r.delivering.Wait()
	return r.away
}

func task(it *consume.Item) deliver.Task {
	return deliver.Task{Bundle: &it.Bundle.Bundle, Segment: it.Segment, Lease: it.Lease}
}

// run is one call.
type run struct {
	*Caller
	delivering sync.WaitGroup // at most one for each item of the call

	mu   sync.Mutex
	away error // the first failure of something that all items need; under mu
}

func (r *run) note(err error) {
	if err == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.away == nil {
		r.away = err
	}
}

// fresh is for how long what the database said when a bundle was claimed still
// holds: who cancels a job or pauses it waits no longer for a call. Of renditions
// that were there then it says more when it is asked.
const fresh = 100 * time.Millisecond

// wanted returns of each item whether it is still to be spoken.
func (r *run) wanted(ctx context.Context, items []*consume.Item) ([]store.Answer, error) {
	answers := make([]store.Answer, len(items))
	var asks []store.Ask
	var asked []int // items
	for i, it := range items {
		c := it.Bundle.Claim
		if !c.Suspect() && !c.Rendered(it.Segment.N) && time.Since(it.Since) < fresh {
			answers[i].Wanted = true
			continue
		}
		asks, asked = append(asks, store.Ask{Ref: c.Ref, Segment: it.Segment.N, Key: it.Segment.RenditionKey}), append(asked, i)
	}
	if len(asks) == 0 {
		return answers, nil
	}
	told, err := r.begin(ctx, asks)
	if err != nil {
		return nil, fmt.Errorf("ask what is wanted: %w", err)
	}
	for i, at := range asked {
		answers[at] = told[i]
	}
	return answers, nil
}

// sift settles what needs no engine and returns the rest.
func (r *run) sift(ctx context.Context, items []*consume.Item) ([]deliver.Task, error) {
	answers, err := r.wanted(ctx, items)
	if err != nil {
		return nil, err
	}
	var tasks []deliver.Task
	for i, it := range items {
		it.Bundle.Begun()
		switch {
		case !answers[i].Wanted:
			r.deps.Meter.Segment(r.cfg.Pool, meter.Unwanted)
			r.delivering.Go(func() { r.drop(ctx, it) })
		case answers[i].Rendered:
			r.deps.Meter.Segment(r.cfg.Pool, meter.Reused)
			r.delivering.Go(func() { r.existing(ctx, task(it), answers[i]) })
		default:
			tasks = append(tasks, task(it))
		}
	}
	return tasks, nil
}

// drop settles a segment that nobody waits for: its job was cancelled, or
// another worker was faster.
func (r *run) drop(ctx context.Context, it *consume.Item) {
	if err := it.Lease.Ack(ctx); err != nil {
		r.deps.Log.DebugContext(ctx, "a message that is not wanted will come again", slog.String("error", err.Error()))
	}
}

// begin asks until the database answers or the hold is over.
func (r *run) begin(ctx context.Context, asks []store.Ask) ([]store.Answer, error) {
	begun := time.Now()
	for pause := 50 * time.Millisecond; ; pause = min(2*pause, 2*time.Second) {
		answers, err := r.deps.Store.Begin(ctx, asks)
		if err == nil || !job.Retryable(err) || time.Since(begun) > r.cfg.Hold {
			return answers, err
		}
		if !lifecycle.Sleep(ctx, pause/2+rand.N(pause)) {
			return nil, err
		}
	}
}

// speak has tasks spoken.
func (r *run) speak(ctx context.Context, tasks []deliver.Task) {
	requests := make([]engine.Request, 0, len(tasks))
	sound := make([]utterance, 0, len(tasks))
	for _, t := range tasks {
		req, s, err := request(t)
		if err != nil {
			r.failure(ctx, t, err)
			continue
		}
		requests, sound = append(requests, req), append(sound, utterance{t, req, s})
	}
	if len(sound) == 0 {
		return
	}
	r.deps.Fleet.Speak(ctx, requests, func(i int, a fleet.Answer) {
		u := sound[i]
		u.GPUSeconds = a.Seconds
		r.result(ctx, u, a)
	})
}

// utterance is a task with what the engine is asked for it.
type utterance struct {
	deliver.Task

	request  engine.Request
	spelling spelling // leads from the request's text back to the task's
}

// result has what was said for u delivered, or whoever is to blame charged.
func (r *run) result(ctx context.Context, u utterance, a fleet.Answer) {
	t := u.Task
	switch {
	case a.Err == nil:
		s, err := r.speechOf(u, a)
		if err != nil {
			r.failure(ctx, t, err)
			return
		}
		r.deps.Meter.Spoken(r.cfg.Pool, s.Audio.Seconds())
		r.deps.Stores <- struct{}{} // what follows ends by itself
		r.delivering.Go(func() {
			defer func() { <-r.deps.Stores }()
			s, spent := r.verified(ctx, u, s, a.Verdict.Odd)
			t.GPUSeconds += spent
			r.note(r.deps.Deliver.Speech(ctx, t, s))
		})
	case ctx.Err() != nil:
		giveBack(t)
	case errors.Is(a.Err, fleet.ErrVoice):
		r.deps.Meter.Error(r.cfg.Pool, 1, a.Err)
		r.delivering.Go(func() { r.note(r.deps.Deliver.Later(ctx, t, a.Err)) })
	case nobodys(a.Err): // the pool pauses by itself, see package fleet
		r.deps.Meter.Error(r.cfg.Pool, 1, a.Err)
		giveBack(t)
	default:
		r.failure(ctx, t, a.Err)
	}
}

func (r *run) failure(ctx context.Context, t deliver.Task, err error) {
	r.deps.Meter.Segment(r.cfg.Pool, meter.Failed)
	r.deps.Meter.Error(r.cfg.Pool, 1, err)
	r.delivering.Go(func() { r.note(r.deps.Deliver.Failure(ctx, t, err)) })
}

// nobodys reports whether err is not the text's fault.
func nobodys(err error) bool {
	k := job.KindOf(err)
	return k == job.Unavailable || k == job.Overloaded
}

// giveBack lets somebody else have t, now.
func giveBack(t deliver.Task) {
	_ = t.Lease.Nak() // if the bus is away, it comes again after the ack wait
}
