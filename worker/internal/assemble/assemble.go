package assemble

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/platform/blob"
	"github.com/voicemill/voicemill/platform/bus"
	"github.com/voicemill/voicemill/platform/lifecycle"
	"github.com/voicemill/voicemill/worker/internal/lease"
	"github.com/voicemill/voicemill/worker/internal/meter"
	"github.com/voicemill/voicemill/worker/internal/store"
)

// Blob is where audio is read from and stored.
type Blob interface {
	// Put stores r under key; size -1 is unknown. It takes constant memory.
	Put(ctx context.Context, key string, r io.Reader, size int64, opt blob.PutOptions) (blob.Info, error)
	// Get opens an object; the caller closes it. NotFound if there is none.
	Get(ctx context.Context, key string, opt blob.GetOptions) (io.ReadCloser, blob.Info, error)
}

// Message is one assembly as it was pulled.
type Message struct {
	Work bus.Assembly
	lease.Message
}

// Source is where assemblies come from.
type Source interface {
	// Fetch returns up to limit messages as soon as there are any, or none after wait.
	Fetch(ctx context.Context, limit int, wait time.Duration) ([]Message, error)
}

// Queue is a [Source] over the bus.
type Queue struct{ Bus *bus.Bus }

// Fetch pulls from the bus.
func (q Queue) Fetch(ctx context.Context, limit int, wait time.Duration) ([]Message, error) {
	got, err := q.Bus.FetchAssembly(ctx, limit, wait)
	msgs := make([]Message, len(got))
	for i, d := range got {
		msgs[i] = Message{Work: d.Value, Message: d}
	}
	return msgs, err
}

// Config says how much is assembled at once and how failures are borne.
type Config struct {
	Workers  int           // assemblies at once
	Attempts int           // how often a chapter may meet a broken rendition before it has failed
	Prefetch int           // renditions opened ahead
	Page     int           // rows read at once
	Hold     time.Duration // how long something that is away is waited for
	Poll     time.Duration // one wait for work
	Grace    time.Duration // for what runs when the assembler is stopped
}

// Validate reports the first setting that makes no sense.
func (c Config) Validate() error {
	switch {
	case c.Workers < 1 || c.Attempts < 1 || c.Prefetch < 1 || c.Page < 1:
		return fmt.Errorf("assemble: workers %d, attempts %d, prefetch %d and page %d must be at least 1", c.Workers, c.Attempts, c.Prefetch, c.Page)
	case c.Hold <= 0 || c.Poll <= 0 || c.Grace <= 0:
		return fmt.Errorf("assemble: hold %s, poll %s and grace %s must be positive", c.Hold, c.Poll, c.Grace)
	}
	return nil
}

// Deps are the parts that an Assembler works with.
type Deps struct {
	Source Source
	Store  *store.Store
	Blob   Blob
	Keeper *lease.Keeper
	Random io.Reader // for object keys that nobody used before; safe for concurrent use
	Hint   func(id job.ID, version int64)
	Meter  *meter.Meter
	Log    *slog.Logger
}

// Assembler joins chapters and ends jobs.
type Assembler struct {
	cfg  Config
	deps Deps
}

// New returns an Assembler; run it with [Assembler.Run].
func New(cfg Config, deps Deps) *Assembler { return &Assembler{cfg: cfg, deps: deps} }

// Run assembles until ctx is done, then finishes what it has begun within the
// grace and gives back the rest.
func (a *Assembler) Run(ctx context.Context) error {
	work, cancel := lifecycle.Linger(ctx, a.cfg.Grace)
	defer cancel()
	var workers sync.WaitGroup
	for range a.cfg.Workers {
		workers.Go(func() { a.loop(ctx, work) })
	}
	workers.Wait()
	return nil
}

// loop takes one message at a time.
func (a *Assembler) loop(ctx, work context.Context) {
	fails := 0
	for ctx.Err() == nil {
		msgs, err := a.deps.Source.Fetch(ctx, 1, a.cfg.Poll)
		for _, m := range msgs {
			err = a.handle(work, m)
		}
		if err == nil {
			fails = 0
			continue
		}
		if ctx.Err() != nil {
			return
		}
		a.deps.Log.WarnContext(ctx, "assembly pauses", slog.String("error", err.Error()))
		pause := min(time.Second<<min(fails, 5), 30*time.Second)
		fails++
		if !sleep(ctx, pause/2+rand.N(pause)) {
			return
		}
	}
}

// handle does one message and settles it.
func (a *Assembler) handle(ctx context.Context, m Message) error {
	w := m.Work
	l := a.deps.Keeper.Hold(m.Message, fmt.Sprintf("%s/%d", w.JobID, w.Ordinal), nil)
	begun := time.Now()
	kind := meter.Join
	do := func() error { return a.chapter(ctx, w.JobID, w.Ordinal) }
	if w.Ordinal == 0 {
		kind = meter.Finish
		do = func() error { return a.finish(ctx, w.JobID) }
	}
	err := a.persist(ctx, do)
	a.deps.Meter.Assembly(kind, time.Since(begun), err)
	if err != nil {
		_ = l.Nak() // else it comes again after the ack wait
		return fmt.Errorf("assemble %s/%d: %w", w.JobID, w.Ordinal, err)
	}
	a.hint(ctx, w.JobID) // before all else: the callback of what was committed may be on its way
	if err := l.Ack(ctx); err != nil {
		a.deps.Log.DebugContext(ctx, "an assembly that is done will come again", slog.String("error", err.Error()))
	}
	return nil
}

// persist does f again while what it needs is away, up to the hold.
func (a *Assembler) persist(ctx context.Context, f func() error) error {
	begun := time.Now()
	for pause := 100 * time.Millisecond; ; pause = min(2*pause, 5*time.Second) {
		err := f()
		if err == nil || !job.Retryable(err) || time.Since(begun) > a.cfg.Hold || ctx.Err() != nil {
			return err
		}
		a.deps.Log.WarnContext(ctx, "an assembly waits", slog.String("error", err.Error()))
		if !sleep(ctx, pause/2+rand.N(pause)) {
			return err
		}
	}
}

// sleep waits for d; false if ctx was done first.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// hint tells watchers that a job has changed.
func (a *Assembler) hint(ctx context.Context, id job.ID) {
	if v, err := a.deps.Store.Version(ctx, id); err == nil {
		a.deps.Hint(id, v)
	}
}

// objectKey returns a key for a file of a job that nobody used before.
func (a *Assembler) objectKey(tenant job.Tenant, id job.ID, name string) (string, error) {
	unique, err := job.NewToken("", a.deps.Random)
	if err != nil {
		return "", &job.Error{Op: "assemble.objectKey", JobID: id, Kind: job.Unavailable, Err: err}
	}
	return fmt.Sprintf("jobs/%s/%s/%s/%s", tenant, id, unique, name), nil
}
