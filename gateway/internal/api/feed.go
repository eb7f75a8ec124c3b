package api

import (
	"strconv"
	"sync"
	"time"

	"github.com/voicemill/voicemill/api/jobdoc"
	"github.com/voicemill/voicemill/gateway/internal/watch"
	"github.com/voicemill/voicemill/job"
)

// feedState is what a feed is doing.
type feedState uint8

const (
	feedReading   feedState = iota // one goroutine reads the job and sends
	feedWaiting                    // a waiter in the hub
	feedCongested                  // the peer does not take events; the carrier resumes
	feedLast                       // the job has ended; the last event waits for the sound
	feedOver
)

// Feed is one watch: it waits in the hub, reads the job when it has moved on
// and sends where it is now. It is pulled, not pushed: while the peer does not
// read, nothing is read for it, and what it then gets is the newest.
//
//	reading ─▶ waiting ─▶ reading …     reading ─▶ congested ─▶ reading …
//	any ─▶ over: the job ended, the client left, the server drains
//
// With sound, reading ─▶ last ─▶ reading ─▶ over: the last event comes after all of
// the sound.
type Feed struct {
	a       *API
	c       *Call
	id      job.ID
	minted  time.Time
	sink    Sink
	release func()
	ear     *listener // nil without sound

	known int64 // version the client has; owned by whoever is reading
	sent  bool  // an event was sent; likewise

	mu     sync.Mutex
	state  feedState // guarded by mu
	again  bool      // guarded by mu: the peer caught up before anybody knew that it had not
	silent bool      // guarded by mu: all of the sound was sent, or none is wanted
	until  time.Time // guarded by mu: when the wait ends with a beat
	cancel func()    // guarded by mu: takes the waiter away
}

// begin sends the first event, if the client has not seen it, and waits.
func (f *Feed) begin(d *jobdoc.Document) {
	defer f.a.rescue(f.c, f.broken)
	f.a.watches.begun(f.c.Identity.KeyID, f)
	if why := f.a.revoked(f.c.Context(), f.c); why != nil { // before others could end it
		f.finish(why)
		return
	}
	f.deliver(d)
}

// broken ends the watch after a panic.
func (f *Feed) broken() {
	f.finish(f.a.problem(f.c, internal, ""))
}

// Stop ends the feed without a word: the client has left. It may be called more
// than once.
func (f *Feed) Stop() {
	f.mu.Lock()
	over := f.state == feedOver
	f.state = feedOver
	cancel := f.cancel
	f.cancel = nil
	f.mu.Unlock()
	if over {
		return
	}
	if cancel != nil {
		cancel()
	}
	if f.ear != nil {
		f.ear.stop()
	}
	f.release()
}

// Resume continues a feed whose sink did not take an event.
func (f *Feed) Resume() {
	f.mu.Lock()
	congested := f.state == feedCongested
	f.again = f.state == feedReading
	if congested {
		f.state = feedReading
	}
	f.mu.Unlock()
	if congested {
		f.look()
	}
}

// look reads the job where that may block.
func (f *Feed) look() {
	err := f.a.dep.Pool.Go(func() {
		defer f.a.rescue(f.c, f.broken)
		if why := f.a.revoked(f.c.Context(), f.c); why != nil {
			f.finish(why)
			return
		}
		d, err := f.a.document(f.c.Context(), f.c.Identity.Tenant, f.id, f.minted)
		switch kind := job.KindOf(err); {
		case err == nil:
			f.deliver(&d)
		case kind == job.Unavailable || kind == job.Overloaded:
			f.wait() // the hub cannot read it either, and wakes us when it can
		default:
			why := f.a.problem(f.c, internal, "")
			why.Err = err
			f.finish(why)
		}
	})
	switch {
	case err == nil:
	case job.KindOf(err) == job.Overloaded:
		f.wait() // which asks again soon
	default:
		f.finish(f.drained())
	}
}

// deliver sends what the client has not seen and goes on.
func (f *Feed) deliver(d *jobdoc.Document) {
	e := jobdoc.EventOf(d)
	final := e.State.Final()
	if final && !f.silenced() {
		return
	}
	news := e.Version != f.known || !f.sent && (f.known == 0 || final) || final && e.Version == 0
	for news {
		if f.over() {
			return
		}
		if f.sink.Event(&e) {
			f.known, f.sent = e.Version, true
			break
		}
		if !f.yield() {
			return
		}
	}
	if final {
		f.finish(nil)
		return
	}
	f.wait()
}

// silenced reports whether all of the sound is sent. If not, heard goes on.
func (f *Feed) silenced() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.silent && f.state == feedReading {
		f.state = feedLast
	}
	return f.silent
}

// heard notes that all of the sound is sent.
func (f *Feed) heard() {
	f.mu.Lock()
	last := f.state == feedLast
	f.silent = true
	if last {
		f.state = feedReading
	}
	f.mu.Unlock()
	if last {
		f.look()
	}
}

func (f *Feed) over() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.state == feedOver
}

// yield leaves the feed to Resume. It reports true if the peer has caught up
// meanwhile, so that the caller tries again.
func (f *Feed) yield() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.state == feedOver {
		return false
	}
	if f.again {
		f.again = false
		return true
	}
	f.state = feedCongested
	return false
}

// wait leaves the feed to the hub.
func (f *Feed) wait() {
	f.mu.Lock()
	if f.state == feedOver {
		f.mu.Unlock()
		return
	}
	f.state, f.again = feedWaiting, false
	f.until = time.Now().Add(f.a.cfg.Heartbeat)
	cancel, err := f.a.dep.Hub.Wait(&watch.Waiter{Job: f.id, Tenant: f.c.Identity.Tenant, Known: f.known, Until: f.until, Wake: f.wake})
	f.cancel = cancel
	f.mu.Unlock()
	switch {
	case err == nil:
	case job.KindOf(err) == job.Unavailable:
		f.finish(f.drained())
	default:
		f.a.shedFor(err)
		f.finish(f.a.problem(f.c, overloaded, "Too many requests are waiting for jobs."))
	}
}

// wake runs on a goroutine of the hub.
func (f *Feed) wake() {
	defer f.a.rescue(f.c, f.broken)
	f.mu.Lock()
	if f.state != feedWaiting {
		f.mu.Unlock()
		return
	}
	f.state, f.cancel = feedReading, nil
	quiet := !time.Now().Before(f.until)
	f.mu.Unlock()
	if quiet { // if something happened in this very moment, the hub says so again
		f.sink.Beat()
		if id, known := f.a.dep.Keys.Get(f.c.Key, time.Now()); known && id != nil {
			f.wait()
			return
		}
	}
	f.look()
}

// finish ends the feed and says why.
func (f *Feed) finish(why *Answer) {
	f.mu.Lock()
	over := f.state == feedOver
	f.state = feedOver
	f.cancel = nil
	f.mu.Unlock()
	if over {
		return
	}
	if f.ear != nil {
		f.ear.stop()
	}
	f.release()
	f.sink.End(why)
}

func (f *Feed) drained() *Answer {
	return f.a.problem(f.c, unavailable, "This server is restarting; connect again and go on after version "+strconv.FormatInt(f.known, 10)+".")
}

// Known returns the last version that was sent. It is for the sink's methods.
func (f *Feed) Known() int64 { return f.known }
