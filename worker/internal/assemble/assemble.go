package assemble

import (
	"context"
	"errors"
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
	// Delete removes an object; one that is not there counts as removed.
	Delete(ctx context.Context, key string) error
}

// Documents are the manuscripts that jobs were made of.
type Documents interface {
	// ReaderAt returns random access to an object in the version that etag names, and its size.
	ReaderAt(ctx context.Context, key, etag string) (io.ReaderAt, int64, error)
}

// Message is one assembly as it was pulled.
type Message struct {
	Work  bus.Assembly
	Again bool // it was delivered before
	lease.Message
}

// Source is where assemblies come from.
type Source interface {
	// Fetch returns up to limit messages of a class as soon as there are any, or none after wait.
	Fetch(ctx context.Context, class job.Class, limit int, wait time.Duration) ([]Message, error)
}

// Queue is a [Source] over the bus: of joins, or of encodings.
type Queue struct {
	Bus    *bus.Bus
	Encode bool
}

// Fetch pulls from the bus.
func (q Queue) Fetch(ctx context.Context, class job.Class, limit int, wait time.Duration) ([]Message, error) {
	fetch := q.Bus.FetchAssembly
	if q.Encode {
		fetch = q.Bus.FetchEncoding
	}
	got, err := fetch(ctx, class, limit, wait)
	msgs := make([]Message, len(got))
	for i, d := range got {
		msgs[i] = Message{Work: d.Value, Again: d.Deliveries > 1, Message: d}
	}
	return msgs, err
}

// Config says how much is assembled at once and how failures are borne.
type Config struct {
	Workers  int           // assemblies of one class at once
	Encoders int           // encodings of one class at once, if there is an encoder
	Attempts int           // how often a chapter may meet a broken rendition before it has failed
	Tries    int           // how often an assembly may be tried in vain before it is parked
	Delay    time.Duration // before the second try; doubles with each
	Prefetch int           // renditions opened ahead
	Page     int           // chapters read at once
	Hold     time.Duration // how long something that is away is waited for
	Poll     time.Duration // one wait for work
	Grace    time.Duration // for what runs when the assembler is stopped
}

// Validate reports the first setting that makes no sense.
func (c Config) Validate() error {
	switch {
	case c.Workers < 1 || c.Attempts < 1 || c.Tries < 1 || c.Prefetch < 1 || c.Page < 1:
		return fmt.Errorf("assemble: workers %d, attempts %d, tries %d, prefetch %d and page %d must be at least 1", c.Workers, c.Attempts, c.Tries, c.Prefetch, c.Page)
	case c.Encoders < 1:
		return fmt.Errorf("assemble: encoders %d must be at least 1", c.Encoders)
	case c.Delay <= 0 || c.Hold <= 0 || c.Poll <= 0 || c.Grace <= 0:
		return fmt.Errorf("assemble: delay %s, hold %s, poll %s and grace %s must be positive", c.Delay, c.Hold, c.Poll, c.Grace)
	}
	return nil
}

// Encoder makes the files of a chapter, or of the book where the ordinal is 0. It
// does nothing if they are not due; after an error nothing has changed.
type Encoder interface {
	Encode(ctx context.Context, d store.Due) error
}

// Deps are the parts that an Assembler works with.
type Deps struct {
	Source Source
	Encode Source  // of encodings
	Coder  Encoder // nil: this worker encodes nothing
	Store  *store.Store
	Blob   Blob
	Docs   Documents
	Keeper *lease.Keeper
	Hint   func(id job.ID, version int64)
	Tell   func(bus.Settled) // notes a join or an end that is settled; nil: nobody listens
	Meter  *meter.Meter
	Log    *slog.Logger

	Version string // of the program, as the manifest names it
}

// Assembler joins chapters and ends jobs, and has what was joined encoded.
type Assembler struct {
	cfg   Config
	deps  Deps
	whole chan job.ID // jobs of one segment, to be ended at once
}

// wholeJobs is how many jobs of one segment may wait here. Those beyond take
// their turn like all others, out of the outbox.
const wholeJobs = 64

// New returns an Assembler; run it with [Assembler.Run].
func New(cfg Config, deps Deps) *Assembler {
	if deps.Tell == nil {
		deps.Tell = func(bus.Settled) {}
	}
	return &Assembler{cfg: cfg, deps: deps, whole: make(chan job.ID, wholeJobs)}
}

// Whole has a job joined and ended at once whose only segment is final. It does
// not wait; should nothing come of it, the job's turn in the outbox comes.
func (a *Assembler) Whole(id job.ID) {
	select {
	case a.whole <- id:
	default:
	}
}

// Run assembles until ctx is done, then finishes what it has begun within the
// grace and gives back the rest. Each class has workers of its own, so that a
// sentence never waits for a book.
func (a *Assembler) Run(ctx context.Context) error {
	work, cancel := lifecycle.Linger(ctx, a.cfg.Grace)
	defer cancel()
	var workers sync.WaitGroup
	for range a.cfg.Workers {
		workers.Go(func() { a.loop(ctx, work, a.deps.Source, job.Interactive) })
		workers.Go(func() { a.loop(ctx, work, a.deps.Source, job.Bulk) })
		workers.Go(func() { a.loopWhole(ctx, work) })
	}
	if a.deps.Coder != nil {
		for range a.cfg.Encoders {
			workers.Go(func() { a.loop(ctx, work, a.deps.Encode, job.Interactive) })
			workers.Go(func() { a.loop(ctx, work, a.deps.Encode, job.Bulk) })
		}
	}
	workers.Wait()
	return nil
}

// loop takes one message at a time.
func (a *Assembler) loop(ctx, work context.Context, source Source, class job.Class) {
	fails, last := 0, ""
	for ctx.Err() == nil {
		msgs, err := source.Fetch(ctx, class, 1, a.cfg.Poll)
		for _, m := range msgs {
			err = a.handle(work, m)
		}
		if err == nil {
			fails, last = 0, ""
			continue
		}
		if ctx.Err() != nil {
			return
		}
		if text := err.Error(); text != last {
			last = text
			a.deps.Log.WarnContext(ctx, "assembly pauses", slog.String("error", text))
		}
		pause := min(50*time.Millisecond<<min(fails, 10), 30*time.Second)
		fails++
		if !lifecycle.Sleep(ctx, pause/2+rand.N(pause)) {
			return
		}
	}
}

// loopWhole ends jobs of one segment.
func (a *Assembler) loopWhole(ctx, work context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case id := <-a.whole:
			for ordinal := 1; ordinal >= 0; ordinal-- {
				if _, err := a.try(work, store.Due{JobID: id, Ordinal: ordinal}, false); err != nil {
					a.deps.Log.WarnContext(work, "a job of one segment waits for its turn", slog.String("job_id", string(id)), slog.String("error", err.Error()))
					break
				}
			}
			a.hint(work, id) // once: nobody has time to look at its chapter between
		}
	}
}

// handle does one message and settles it. An error says that something is away.
func (a *Assembler) handle(ctx context.Context, m Message) error {
	w := m.Work
	l := a.deps.Keeper.Hold(m.Message, fmt.Sprintf("%s/%d", w.JobID, w.Ordinal), nil)
	settled, err := a.try(ctx, store.Due{JobID: w.JobID, Ordinal: w.Ordinal, Encode: w.Encode, Attempt: w.Attempt}, m.Again)
	if !settled {
		_ = l.Nak() // else it comes again after the ack wait
		return err
	}
	if err == nil {
		a.hint(ctx, w.JobID) // before all else: the callback of what was committed may be on its way
	}
	if err := l.Ack(ctx); err != nil {
		a.deps.Log.DebugContext(ctx, "an assembly that is done will come again", slog.String("error", err.Error()))
	}
	return err
}

// try does what is due, if it still is, and notes in the outbox what became of
// it: done, due again later, or parked because it was tried in vain too often.
// It is settled unless it was not even possible to note that. An error is
// for something that is away; what failed by itself holds nobody up.
func (a *Assembler) try(ctx context.Context, d store.Due, again bool) (settled bool, err error) {
	started, due := 0, false
	err = a.persist(ctx, func() (err error) {
		started, due, err = a.deps.Store.BeginDue(ctx, d, again)
		return err
	})
	if err != nil || !due {
		return err == nil, err
	}
	if started > a.cfg.Tries {
		err = &job.Error{Op: "assemble.try", JobID: d.JobID, Kind: job.Internal, Public: "Its workers ended.", Err: fmt.Errorf("%d deliveries ended without a result", started-1)}
		return a.vain(ctx, d, started, err)
	}
	begun, kind := time.Now(), meter.Join
	do := func() error { return a.chapter(ctx, d) }
	switch {
	case d.Encode:
		kind = meter.Encode
		do = func() error { return a.deps.Coder.Encode(ctx, d) }
	case d.Ordinal == 0:
		kind = meter.Finish
		do = func() error { return a.finish(ctx, d) }
	}
	err = a.persist(ctx, do)
	a.deps.Meter.Assembly(kind, time.Since(begun), err)
	switch {
	case err == nil:
		return true, nil
	case ctx.Err() != nil: // the stop was the reason
		last, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastWord)
		defer cancel()
		return false, errors.Join(err, a.deps.Store.ReturnDue(last, d))
	case job.Retryable(err):
		away := fmt.Errorf("assemble %s/%d: %w", d.JobID, d.Ordinal, err)
		p := store.Postponement{Delay: a.delay(d.Attempt), Kind: job.KindOf(err), Detail: job.PublicOf(err, "Something that is needed is away.")}
		return a.deps.Store.PostponeDue(ctx, d, p) == nil, away
	default:
		return a.vain(ctx, d, started, err)
	}
}

// lastWord is how long the database may take for what is given back at the stop.
const lastWord = 2 * time.Second

// delay is the pause before the next try after so many.
func (a *Assembler) delay(tries int) time.Duration {
	return min(a.cfg.Delay<<min(tries, 10), time.Minute)
}

// vain notes a try that came to nothing by itself; after the last one the
// assembly is parked, and its chapter or job fails with the reason.
func (a *Assembler) vain(ctx context.Context, d store.Due, started int, cause error) (settled bool, err error) {
	reason := job.PublicOf(cause, "An internal error.")
	log := a.deps.Log.With(slog.String("job_id", string(d.JobID)), slog.Int("chapter", d.Ordinal), slog.Int("try", started), slog.String("error", cause.Error()))
	if started < a.cfg.Tries {
		log.WarnContext(ctx, "an assembly was tried in vain")
		err = a.deps.Store.PostponeDue(ctx, d, store.Postponement{Delay: a.delay(started), Charged: true, Kind: job.KindOf(cause), Detail: reason})
		return err == nil, err
	}
	log.ErrorContext(ctx, "an assembly is parked")
	err = a.persist(ctx, func() error { return a.park(ctx, d, reason) })
	return err == nil, err
}

func (a *Assembler) park(ctx context.Context, d store.Due, reason string) error {
	if d.Encode {
		return a.deps.Store.ParkEncoding(ctx, d.JobID, d.Ordinal, job.Internal, fmt.Sprintf("Encoding failed %d times. %s", a.cfg.Tries, reason))
	}
	if d.Ordinal > 0 {
		c, err := a.deps.Store.Chapter(ctx, d.JobID, d.Ordinal)
		if err != nil {
			return err
		}
		_, err = a.deps.Store.ParkChapter(ctx, c, job.Internal, fmt.Sprintf("The audio could not be joined in %d tries. %s", a.cfg.Tries, reason))
		return err
	}
	j, err := a.deps.Store.Job(ctx, d.JobID)
	if err != nil {
		return err
	}
	ok, err := a.deps.Store.FinishJob(ctx, j, store.End{
		State: job.StateFailed, ErrorKind: job.Internal.String(), Park: true,
		ErrorDetail: fmt.Sprintf("The description of the audio could not be made in %d tries. %s", a.cfg.Tries, reason),
	})
	if ok {
		a.deps.Meter.Ended(job.StateFailed)
	}
	return err
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
		if !lifecycle.Sleep(ctx, pause/2+rand.N(pause)) {
			return err
		}
	}
}

// hint tells watchers that a job has changed.
func (a *Assembler) hint(ctx context.Context, id job.ID) {
	if v, err := a.deps.Store.Version(ctx, id); err == nil {
		a.deps.Hint(id, v)
	}
}

// discard removes a file that was stored and that no row names: somebody else was
// faster, or the job is gone. What cannot be removed now, the scheduler finds.
func (a *Assembler) discard(ctx context.Context, key string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastWord)
	defer cancel()
	if err := a.deps.Blob.Delete(ctx, key); err != nil {
		a.deps.Log.InfoContext(ctx, "a file that nobody needs stays for now", slog.String("object", key), slog.String("error", err.Error()))
	}
}
