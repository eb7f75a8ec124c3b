package api

import (
	"net/http"
	"strconv"

	"github.com/voicemill/voicemill/api/jobdoc"
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
	Connect(id job.ID, after int64)
}

// lastEvent is the version after which events are wanted: Last-Event-ID (HTML,
// server-sent events), or a parameter for those who can set no field. 0 asks for
// an event at once. ok is false if the call was answered.
func (a *API) lastEvent(c *Call) (version int64, ok bool) {
	q, ok := a.query(c, "after_version", accessToken)
	if !ok {
		return 0, false
	}
	text := q.Get("after_version")
	if field := c.Header("last-event-id"); len(field) > 0 {
		text = string(field)
	}
	if text == "" {
		return 0, true
	}
	version, err := strconv.ParseInt(text, 10, 64)
	if err != nil || version < 0 {
		a.refuse(c, badRequest, "after_version and Last-Event-ID must be the version of an event.")
		return 0, false
	}
	return version, true
}

// watchJob answers with the events of one job.
func (a *API) watchJob(c *Call) {
	id, minted, ok := a.owned(c)
	if !ok {
		return
	}
	after, ok := a.lastEvent(c)
	if !ok {
		return
	}
	w, ok := c.Exchange.(Watchable)
	if !ok || c.Method() == http.MethodHead {
		c.Reply(&Answer{Status: http.StatusOK, ContentType: contentEvents})
		return
	}
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
	release, full, ofKey := a.watches.take(c.Identity.KeyID)
	switch {
	case full && ofKey:
		a.refuse(c, tooManyWatches, "This API key has "+strconv.Itoa(a.cfg.KeyWatches)+" watches already.")
		return
	case full:
		a.refuse(c, overloaded, "Too many watches are open; ask for the job instead.")
		return
	}
	f := &Feed{a: a, c: c, id: id, minted: minted, known: after, release: release}
	if f.sink = w.Watch(f); f.sink == nil {
		release()
		return
	}
	f.begin(&d)
}

const contentEvents = "text/event-stream"

// Watches returns how many watches are open.
func (a *API) Watches() int { return a.watches.taken() }

// connect turns the call into a connection for many.
func (a *API) connect(c *Call) {
	if _, ok := a.query(c, accessToken); !ok {
		return
	}
	a.become(c, "", 0)
}

// live turns the call into a connection that watches one job.
func (a *API) live(c *Call) {
	id, _, ok := a.owned(c)
	if !ok {
		return
	}
	if after, ok := a.lastEvent(c); ok {
		a.become(c, id, after)
	}
}

func (a *API) become(c *Call, id job.ID, after int64) {
	if x, ok := c.Exchange.(Connectable); ok {
		x.Connect(id, after)
		return
	}
	a.refuse(c, badRequest, "This is a connection already.")
}

// Go runs task where it may block, and broken if task panics. It reports
// Overloaded or Unavailable, and runs neither, if that cannot be.
func (a *API) Go(task, broken func()) error {
	return a.dep.Pool.Go(func() {
		defer a.rescue(nil, broken)
		task()
	})
}
