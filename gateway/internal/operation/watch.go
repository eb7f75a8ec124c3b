package operation

import (
	"context"
	"errors"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/voicemill/voicemill/api/jobdoc"
	"github.com/voicemill/voicemill/gateway/internal/playback"
	"github.com/voicemill/voicemill/gateway/internal/problem"
	"github.com/voicemill/voicemill/gateway/internal/stage"
	"github.com/voicemill/voicemill/gateway/internal/watch"
	"github.com/voicemill/voicemill/job"
)

// Watching says which job is watched and what of it is wanted.
type Watching struct {
	Job   job.ID
	After int64 // version that the client has; 0 asks for an event at once
	Audio bool  // the sound, too
	From  int   // segment that the sound begins with; 0 is the first
}

// Watcher is where the events of a watch go. One goroutine at a time calls it.
type Watcher interface {
	// Event sends e and reports whether the peer takes it now. If not, nothing was
	// sent; what is sent when it does is the newest event, and those between never are.
	Event(e *jobdoc.Event) bool
	// Ready waits until the peer may take an event that it did not take.
	Ready(ctx context.Context) error
	// Beat shows the peer that the watch lives while nothing happens.
	Beat()
}

// Listener is where the sound of a watch goes. One goroutine at a time calls it,
// while another may call the Watcher.
type Listener interface {
	// Room returns how many bytes of samples the peer takes now, 0 for none.
	Room() int
	// MoreRoom waits until there may be room when there was none.
	MoreRoom(ctx context.Context) error
	// Sound sends a piece, not longer than there is room for. It does not keep samples.
	Sound(p playback.Piece, samples []byte)
}

// Watch is one that may begin: its caller may see the job, and there is room.
type Watch struct {
	o    *Operations
	c    *Caller
	want Watching
	at   time.Time       // minted
	d    jobdoc.Document // as it is now
	ctx  context.Context //nolint:containedctx // of Watch.Run, whose beginning its caller announces first
	end  context.CancelCauseFunc

	known atomic.Int64  // version that the client has; written by events
	sent  bool          // an event was sent
	heard chan struct{} // closed when all of the sound was sent, or none is wanted

	once    sync.Once
	release func()
}

// Watch begins to watch a job. The watch must be ended with Run or Stop.
func (o *Operations) Watch(ctx context.Context, c *Caller, want Watching) (*Watch, error) {
	if err := o.CheckWatching(&want); err != nil {
		return nil, err
	}
	at, err := o.minted(c, want.Job)
	if err != nil {
		return nil, err
	}
	d, err := o.document(ctx, c.Tenant, want.Job, at)
	if err != nil {
		return nil, err
	}
	w := &Watch{o: o, c: c, want: want, at: at, d: d, heard: make(chan struct{})}
	w.known.Store(want.After)
	if !want.Audio {
		close(w.heard)
	}
	w.ctx, w.end = context.WithCancelCause(stage.With(ctx, nil)) // several goroutines have it
	if w.release, err = o.open(w); err != nil {
		w.end(err)
		return nil, err
	}
	return w, nil
}

// CheckWatching refuses what cannot be wanted of a job.
func (o *Operations) CheckWatching(w *Watching) error {
	switch {
	case w.After < 0:
		return BadVersion()
	case w.From < 0 || w.From > o.cfg.Limits.Segments:
		return BadSegment()
	}
	return nil
}

// BadVersion says that what a client has is no version.
func BadVersion() error {
	return problem.New(problem.BadRequest, "after_version and Last-Event-ID must be the version of an event.")
}

// BadSegment says that the sound cannot begin there.
func BadSegment() error {
	return problem.New(problem.BadRequest, "from_segment must be the number of a segment.")
}

// Stop ends the watch if it has not ended. It may be called twice.
func (w *Watch) Stop() { w.once.Do(func() { w.end(nil); w.release() }) }

// Over reports whether the client has seen the last event already.
func (w *Watch) Over() bool {
	known := w.known.Load()
	return w.d.State.Final() && known > 0 && known == w.d.Version
}

// Known returns the last version that was sent, once Run has returned.
func (w *Watch) Known() int64 { return w.known.Load() }

// Run sends what the client has not seen until the job has ended, and all of its
// sound is sent: then it returns nil. Otherwise it returns why the watch ends before.
// listener is nil if no sound is wanted.
func (w *Watch) Run(to Watcher, listener Listener) error {
	defer w.Stop()
	if err := w.o.revoked(w.ctx, w.c); err != nil { // before others could end it
		return err
	}
	if !w.want.Audio {
		return w.cause(w.events(to))
	}
	silent := make(chan struct{})
	go func() { // ends with the watch, which waits for it
		err := errPanic
		defer func() {
			if p := recover(); p != nil {
				w.o.panicked(w.ctx, p, w.c)
			}
			if err != nil {
				w.end(err)
			}
			close(silent)
		}()
		err = w.sound(w.ctx, listener)
	}()
	err := w.events(to)
	w.end(err)
	<-silent
	return w.cause(err)
}

// cause returns what has ended the watch, of several the first.
func (w *Watch) cause(err error) error {
	if err == nil {
		return nil
	}
	if cause := context.Cause(w.ctx); cause != nil {
		return cause
	}
	return err
}

// events sends events until the last.
func (w *Watch) events(to Watcher) error {
	d := &w.d
	for {
		if d.State.Final() {
			select {
			case <-w.heard: // the last event comes after all of the sound
			case <-w.ctx.Done():
				return context.Cause(w.ctx)
			}
		}
		last, err := w.send(to, d)
		if last || err != nil {
			return err
		}
		if d, err = w.moved(to); err != nil {
			return err
		}
	}
}

// send sends what the client has not seen. last says that nothing follows.
func (w *Watch) send(to Watcher, d *jobdoc.Document) (last bool, err error) {
	for {
		e := jobdoc.EventOf(d)
		last = e.State.Final()
		known := w.known.Load()
		if news := e.Version != known || !w.sent && (known == 0 || last) || last && e.Version == 0; !news {
			return last, nil
		}
		if to.Event(&e) {
			w.known.Store(e.Version)
			w.sent = true
			return last, nil
		}
		if err := to.Ready(w.ctx); err != nil {
			return false, err
		}
		newer, err := w.look()
		if err != nil {
			return false, err
		}
		if newer != nil {
			d = newer
		}
		if d.State.Final() && !w.silent() {
			return false, nil // events waits for the sound
		}
	}
}

func (w *Watch) silent() bool {
	select {
	case <-w.heard:
		return true
	default:
		return false
	}
}

// moved waits until the job has moved on, and returns it.
func (w *Watch) moved(to Watcher) (*jobdoc.Document, error) {
	for {
		until := time.Now().Add(w.o.cfg.Heartbeat)
		if err := w.wait(w.known.Load(), until); err != nil {
			return nil, err
		}
		if !time.Now().Before(until) { // if something happened in this very moment, the hub says so again
			to.Beat()
			if id, known := w.o.dep.Keys.Get(w.c.Shown.Hash, time.Now()); known && id != nil {
				continue
			}
		}
		if d, err := w.look(); d != nil || err != nil {
			return d, err
		}
	}
}

// look reads the job; nil if that cannot be now, because the hub wakes us when it can.
func (w *Watch) look() (*jobdoc.Document, error) {
	if err := w.o.revoked(w.ctx, w.c); err != nil {
		return nil, err
	}
	d, err := w.o.document(w.ctx, w.c.Tenant, w.want.Job, w.at)
	switch kind := job.KindOf(err); {
	case err == nil:
		return &d, nil
	case kind == job.Unavailable || kind == job.Overloaded:
		return nil, nil //nolint:nilnil // said above
	}
	return nil, &problem.Error{Slug: problem.Internal, Err: err}
}

// wait waits in the hub.
func (w *Watch) wait(known int64, until time.Time) error {
	err := w.o.dep.Hub.Await(w.ctx, watch.Waiter{Job: w.want.Job, Tenant: w.c.Tenant, Known: known, Until: until})
	switch {
	case err == nil:
		return nil
	case job.KindOf(err) == job.Unavailable:
		return problem.New(problem.Unavailable, "This server is restarting; connect again and go on after version "+strconv.FormatInt(w.known.Load(), 10)+".")
	case errors.Is(err, watch.ErrFull):
		return &problem.Error{Slug: problem.Overloaded, Detail: "Too many requests are waiting for jobs.", Err: err}
	}
	return err
}
