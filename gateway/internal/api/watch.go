package api

import (
	"net/http"
	"strconv"

	"github.com/voicemill/voicemill/api/jobdoc"
	"github.com/voicemill/voicemill/gateway/internal/playback"
	"github.com/voicemill/voicemill/job"
)

// Sink is where the events of a watch go. Its methods are called by one
// goroutine at a time and must not block.
type Sink interface {
	// Event sends e and reports whether the peer takes it now. If not, nothing was
	// sent, and the carrier calls [Feed.Resume] when the peer has caught up: then
	// comes the newest event, and those between are never sent.
	Event(e *jobdoc.Event) bool
	// Beat shows the peer that the watch lives while nothing happens.
	Beat()
	// End is called once, after the last event. why is nil if the job has ended,
	// else a problem that ends the watch before the job.
	End(why *Answer)
}

// Watchable is an [Exchange] that can carry a watch.
type Watchable interface {
	Exchange
	// Watch begins to answer with the events of f. The feed starts after it has
	// returned. It returns nil if the request was answered otherwise or its client
	// is gone. The carrier calls [Feed.Stop] when the client leaves.
	Watch(f *Feed) Sink
}

// Connectable is an [Exchange] that can become a connection for many calls.
type Connectable interface {
	Exchange
	// Connect answers by becoming one. With a job, a watch of it is the first call,
	// and the connection ends with it.
	// admit counts the connection once it is one.
	Connect(w Watching, admit Admission)
}

// Watching says which job is watched and what of it is wanted.
type Watching struct {
	Job   job.ID // empty: none
	After int64  // version that the client has
	Audio bool   // the sound, too
	From  int    // segment that the sound begins with; 0 is the first
}

// watching reads what is wanted of a job. Events are wanted after a version:
// Last-Event-ID (HTML, server-sent events), or a parameter for those who can set
// no field. 0 asks for an event at once. ok is false if the call was answered.
func (a *API) watching(c *Call, id job.ID) (w Watching, ok bool) {
	q, ok := a.query(c, "after_version", "audio", "from_segment", accessToken)
	if !ok {
		return w, false
	}
	w.Job = id
	var given []string // the last one counts, and each must be sound
	if text := q.Get("after_version"); text != "" {
		given = append(given, text)
	}
	if field := c.Header("last-event-id"); field != nil {
		given = append(given, string(field))
	}
	for _, text := range given {
		version, err := strconv.ParseInt(text, 10, 64)
		if err != nil || version < 0 {
			a.refuse(c, badRequest, "after_version and Last-Event-ID must be the version of an event.")
			return w, false
		}
		w.After = version
	}
	switch q.Get("audio") {
	case "", "0":
	case "1":
		w.Audio = true
	default:
		a.refuse(c, badRequest, "audio must be 0 or 1.")
		return w, false
	}
	if q.Has("from_segment") {
		n, err := strconv.Atoi(q.Get("from_segment"))
		if err != nil || n < 0 || n > a.cfg.Limits.Segments {
			a.refuse(c, badRequest, "from_segment must be the number of a segment.")
			return w, false
		}
		w.Audio, w.From = w.Audio || n > 0, n
	}
	return w, true
}

// watchJob answers with the events of one job.
func (a *API) watchJob(c *Call) {
	id, minted, ok := a.owned(c)
	if !ok {
		return
	}
	want, ok := a.watching(c, id)
	if !ok {
		return
	}
	w, ok := c.Exchange.(Watchable)
	if !ok || c.Method() == http.MethodHead {
		c.Reply(&Answer{Status: http.StatusOK, ContentType: contentEvents})
		return
	}
	audible, ok := c.Exchange.(Audible)
	if want.Audio && !ok {
		a.refuse(c, badRequest, "Sound is sent over WebSocket and frames: connect to /v1/jobs/{id}/live.")
		return
	}
	after := want.After
	d, err := a.document(c.Context(), c.Identity.Tenant, id, minted)
	if err != nil {
		a.fail(c, err)
		return
	}
	// This is how an EventSource learns that it need not connect again.
	if d.State.Final() && after > 0 && after == d.Version && c.Header("last-event-id") != nil {
		c.Reply(&Answer{Status: http.StatusNoContent})
		return
	}
	f := &Feed{a: a, c: c, id: id, minted: minted, known: after, silent: !want.Audio}
	if !a.open(f) {
		return
	}
	if want.Audio {
		a.listen(f, audible, want, &d)
		return
	}
	if f.sink = w.Watch(f); f.sink == nil {
		f.release()
		return
	}
	f.begin(&d)
}

// open counts a watch. It reports false if it has answered that there are too many.
func (a *API) open(f *Feed) bool {
	c, key := f.c, f.c.Identity.KeyID
	full, ofKey := a.watches.add(key, f)
	switch {
	case full && ofKey:
		a.shed(shedKeyWatches)
		a.refuse(c, tooManyWatches, "This API key has "+strconv.Itoa(a.cfg.KeyWatches)+" watches already.")
		return false
	case full:
		a.shed(shedWatches)
		a.refuse(c, overloaded, "Too many watches are open; ask for the job instead.")
		return false
	}
	unhold, ok := a.hold(c)
	if !ok {
		a.watches.remove(key, f)
		return false
	}
	f.release = func() { a.watches.remove(key, f); unhold() }
	return true
}

// listen begins a watch with sound.
func (a *API) listen(f *Feed, x Audible, want Watching, d *jobdoc.Document) {
	l := &listener{f: f, player: playback.New(playback.Config{
		Store: a.dep.Store, Bucket: a.dep.Bucket, Tenant: f.c.Identity.Tenant, Job: f.id, From: want.From, Partial: true,
	})}
	f.ear = l
	if l.sink = x.WatchAudio(f); l.sink == nil {
		f.release()
		return
	}
	f.sink = l.sink
	f.begin(d)
	if !f.over() {
		l.turn()
	}
}

const contentEvents = "text/event-stream"

// Watches returns how many watches are open.
func (a *API) Watches() int { return a.watches.open() }

// connect turns the call into a connection for many.
func (a *API) connect(c *Call) {
	if _, ok := a.query(c, accessToken); !ok {
		return
	}
	a.become(c, Watching{})
}

// live turns the call into a connection that watches one job.
func (a *API) live(c *Call) {
	id, _, ok := a.owned(c)
	if !ok {
		return
	}
	if w, ok := a.watching(c, id); ok {
		a.become(c, w)
	}
}

func (a *API) become(c *Call, w Watching) {
	if x, ok := c.Exchange.(Connectable); ok {
		if admit, ok := a.admission(c); ok {
			x.Connect(w, admit)
		}
		return
	}
	a.refuse(c, badRequest, "This is a connection already.")
}

// Go runs task where it may block, and broken if task panics. It reports
// Overloaded or Unavailable, and runs neither, if that cannot be.
func (a *API) Go(task, broken func()) error {
	err := a.dep.Pool.Go(func() {
		defer a.rescue(nil, broken)
		task()
	})
	a.shedFor(err)
	return err
}
