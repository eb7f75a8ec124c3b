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
	"github.com/voicemill/voicemill/worker/internal/check"
	"github.com/voicemill/voicemill/worker/internal/consume"
	"github.com/voicemill/voicemill/worker/internal/deliver"
	"github.com/voicemill/voicemill/worker/internal/engine"
	"github.com/voicemill/voicemill/worker/internal/meter"
	"github.com/voicemill/voicemill/worker/internal/store"
)

var errCallTimeout = errors.New("the engine gave no answer in the time that its work could take")

// Store tells what is still wanted.
type Store interface {
	// Begin tells of each segment whether it is still to be worked on.
	Begin(ctx context.Context, asks []store.Ask) ([]store.Answer, error)
}

// Deliverer makes outcomes durable; package deliver has the one.
type Deliverer interface {
	// Speech stores audio and settles the task.
	Speech(ctx context.Context, t deliver.Task, s deliver.Speech) error
	// Existing settles a task whose rendition is stored already.
	Existing(ctx context.Context, t deliver.Task) error
	// Failure charges a failed attempt.
	Failure(ctx context.Context, t deliver.Task, cause error) error
	// Died lets a task come again alone, Guilty fails it: workers died with it.
	Died(ctx context.Context, t deliver.Task) error
	Guilty(ctx context.Context, t deliver.Task) error
}

// Config says how one pool's engine is used.
type Config struct {
	Pool  string
	Check check.Config
	// A call that takes longer than CallMin and CallFactor times its predicted
	// seconds has hung. Drivers have tighter bounds; this one catches a driver.
	CallMin    time.Duration
	CallFactor float64
	Hold       time.Duration // how long a database that is away is waited for
}

// Validate reports the first setting that makes no sense.
func (c Config) Validate() error {
	if err := c.Check.Validate(); err != nil {
		return fmt.Errorf("pool %s: check: %w", c.Pool, err)
	}
	if c.CallMin <= 0 || !(c.CallFactor > 0) || c.Hold <= 0 {
		return fmt.Errorf("pool %s: call_min %s, call_factor %g and hold %s must be positive", c.Pool, c.CallMin, c.CallFactor, c.Hold)
	}
	return nil
}

// Deps are the parts that a Caller works with.
type Deps struct {
	Engine  engine.Engine
	Store   Store
	Deliver Deliverer
	Meter   *meter.Meter
	// Suspects has room for one: of the texts that workers died with, a process
	// has one at a time with its engines, so that the next death tells which it is.
	Suspects chan struct{}
	Log      *slog.Logger
}

// Caller speaks the calls of one pool. It is safe for concurrent use.
type Caller struct {
	cfg   Config
	deps  Deps
	rates *rates
}

// New returns a Caller. The engine stays the owner's to close.
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

func (r *run) isAway() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.away != nil
}

// sift settles what needs no engine and returns the rest.
func (r *run) sift(ctx context.Context, items []*consume.Item) ([]deliver.Task, error) {
	asks := make([]store.Ask, len(items))
	for i, it := range items {
		asks[i] = store.Ask{Ref: it.Bundle.Claim.Ref, Segment: it.Segment.N, Key: it.Segment.RenditionKey}
	}
	answers, err := r.begin(ctx, asks)
	if err != nil {
		return nil, fmt.Errorf("ask what is wanted: %w", err)
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
			r.delivering.Go(func() { r.note(r.deps.Deliver.Existing(ctx, task(it))) })
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
		timer := time.NewTimer(pause/2 + rand.N(pause))
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return nil, err
		}
	}
}

// speak has tasks spoken in one engine call, or in several if it fails as a whole.
func (r *run) speak(ctx context.Context, tasks []deliver.Task) {
	if ctx.Err() != nil || r.isAway() {
		giveBack(tasks)
		return
	}
	begun := time.Now()
	results, err := r.synthesize(ctx, tasks)
	took := time.Since(begun)
	if err == nil && len(tasks) > 1 {
		err = brokenTogether(results)
	}
	r.deps.Meter.Call(r.cfg.Pool, len(tasks), took, err)
	switch {
	case err == nil:
		for i, t := range tasks {
			t.GPUSeconds = took.Seconds() * share(tasks, i)
			r.result(ctx, t, results[i])
		}
	case ctx.Err() != nil:
		giveBack(tasks)
	case isAway(err):
		r.deps.Meter.Error(r.cfg.Pool, len(tasks), err)
		giveBack(tasks)
		r.note(err)
	case len(tasks) == 1:
		tasks[0].GPUSeconds = took.Seconds()
		r.failure(ctx, tasks[0], err)
	default:
		r.deps.Log.WarnContext(ctx, "an engine call failed as a whole and is taken apart", slog.Int("items", len(tasks)), slog.String("error", err.Error()))
		half := len(tasks) / 2
		r.speak(ctx, tasks[:half])
		r.speak(ctx, tasks[half:])
	}
}

// synthesize is the engine call, bounded by what its work could take.
func (r *run) synthesize(ctx context.Context, tasks []deliver.Task) ([]engine.Result, error) {
	requests := make([]engine.Request, len(tasks))
	spellings := make([]spelling, len(tasks))
	seconds := 0.0
	for i, t := range tasks {
		var err error
		if requests[i], spellings[i], err = request(t); err != nil {
			return nil, err
		}
		seconds += t.Segment.PredictedSeconds
	}
	limit := r.cfg.CallMin + time.Duration(r.cfg.CallFactor*seconds*float64(time.Second))
	call, cancel := context.WithTimeoutCause(ctx, limit, errCallTimeout)
	defer cancel()
	results, err := r.deps.Engine.Synthesize(call, requests)
	if err != nil && errors.Is(context.Cause(call), errCallTimeout) {
		return nil, &job.Error{Op: "synth.synthesize", Kind: job.Engine, Public: "The engine gave no answer in time.", Err: err}
	}
	if err == nil && len(results) != len(requests) {
		err = &job.Error{Op: "synth.synthesize", Kind: job.Internal, Err: fmt.Errorf("%d results for %d requests", len(results), len(requests))}
	}
	if err != nil {
		return nil, err
	}
	for i := range results {
		spellings[i].restore(results[i].Sentences)
		spellings[i].restore(results[i].Words)
	}
	return results, nil
}

// result judges what the engine said for t and has it delivered.
func (r *run) result(ctx context.Context, t deliver.Task, res engine.Result) {
	switch {
	case res.Err == nil:
		s, err := r.judge(ctx, t, res)
		if err != nil {
			r.failure(ctx, t, err)
			return
		}
		r.deps.Meter.Spoken(r.cfg.Pool, s.Audio.Seconds())
		r.delivering.Go(func() { r.note(r.deps.Deliver.Speech(ctx, t, s)) })
	case ctx.Err() != nil:
		giveBack([]deliver.Task{t})
	case isAway(res.Err):
		r.deps.Meter.Error(r.cfg.Pool, 1, res.Err)
		giveBack([]deliver.Task{t})
		r.note(res.Err)
	default:
		r.failure(ctx, t, res.Err)
	}
}

func (r *run) failure(ctx context.Context, t deliver.Task, err error) {
	r.deps.Meter.Segment(r.cfg.Pool, meter.Failed)
	r.deps.Meter.Error(r.cfg.Pool, 1, err)
	r.delivering.Go(func() { r.note(r.deps.Deliver.Failure(ctx, t, err)) })
}

// brokenTogether returns the first error if every item failed because of the
// engine: then it is more likely that the call broke than each item by itself.
func brokenTogether(results []engine.Result) error {
	for _, res := range results {
		if res.Err == nil || job.KindOf(res.Err) != job.Engine || errors.Is(res.Err, engine.ErrPoison) {
			return nil
		}
	}
	return results[0].Err
}

func isAway(err error) bool {
	k := job.KindOf(err)
	return k == job.Unavailable || k == job.Overloaded
}

// giveBack lets somebody else have tasks, now.
func giveBack(tasks []deliver.Task) {
	for _, t := range tasks {
		_ = t.Lease.Nak() // if the bus is away, it comes again after the ack wait
	}
}

// share is the part of a call's time that task i is charged with.
func share(tasks []deliver.Task, i int) float64 {
	sum := 0.0
	for _, t := range tasks {
		sum += t.Segment.PredictedSeconds
	}
	if sum <= 0 {
		return 1 / float64(len(tasks))
	}
	return tasks[i].Segment.PredictedSeconds / sum
}
