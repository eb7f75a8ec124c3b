package api

import (
	"bytes"
	"context"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/voicemill/voicemill/api/jobdoc"
	"github.com/voicemill/voicemill/gateway/internal/limit"
	"github.com/voicemill/voicemill/gateway/internal/watch"
	"github.com/voicemill/voicemill/job"
)

// owned returns the job that the path names, if it was minted for the caller's
// tenant. Otherwise it has answered 404: an id says by itself whose it is.
func (a *API) owned(c *Call) (id job.ID, at time.Time, ok bool) {
	id = job.ID(c.params[0])
	at, ok = a.dep.Minter.Minted(id, c.Identity.Tenant)
	if !ok {
		a.refuse(c, notFound, "There is no such job.")
	}
	return id, at, ok
}

// document reads a job that its owner is about to be shown.
func (a *API) document(ctx context.Context, tenant job.Tenant, id job.ID, minted time.Time) (jobdoc.Document, error) {
	d, err := a.load(ctx, tenant, id, minted)
	if err == nil {
		a.dep.Documents.Seen(&d)
	}
	return d, err
}

// load reads a job. A job that was minted but has no row is accepted, or
// cancelled before the scheduler saw it (invariant I2): it is NotFound only if it
// was deleted, or is so old that it would have a row if it was not.
func (a *API) load(ctx context.Context, tenant job.Tenant, id job.ID, minted time.Time) (jobdoc.Document, error) {
	row, err := a.dep.Store.ReadJob(ctx, tenant, id)
	switch {
	case err == nil:
		return jobdoc.Build(row, time.Now())
	case job.KindOf(err) != job.NotFound:
		return jobdoc.Document{}, err
	}
	d := jobdoc.Accepted(id, minted, nil)
	fate, err := a.dep.Store.FateOf(ctx, id)
	switch {
	case err != nil:
	case fate.Deleted, time.Since(minted) > job.LongestArrival:
		err = &job.Error{Op: "api.load", JobID: id, Kind: job.NotFound, Public: "The job was deleted."}
	case fate.Cancelled:
		d.State = job.StateCancelled
	}
	return d, err
}

// etag names what a client has seen. It is weak: estimates move without a new version.
func etag(d *jobdoc.Document) string {
	if d.Version == 0 && d.State == job.StateCancelled {
		return `W/"0-cancelled"`
	}
	if w := d.Waiting; w != nil { // a pool changes without the job
		return `W/"` + strconv.FormatInt(d.Version, 10) + "-" + w.Reason + strconv.FormatInt(w.Since.Unix(), 10) + `"`
	}
	return `W/"` + strconv.FormatInt(d.Version, 10) + `"`
}

// names reports whether an If-None-Match field names etag: a list of entity tags or
// "*", compared weakly (RFC 9110 section 13.1.2).
func names(field []byte, etag string) bool {
	opaque := strings.TrimPrefix(etag, "W/")
	for tag := range bytes.SplitSeq(field, []byte(",")) {
		tag = bytes.TrimSpace(tag)
		if string(tag) == "*" || string(bytes.TrimPrefix(tag, []byte("W/"))) == opaque {
			return true
		}
	}
	return false
}

// poll is a GET of one job that may be held.
type poll struct {
	a      *API
	c      *Call
	id     job.ID
	minted time.Time
	until  time.Time // hold the answer until then
	held   bool
}

func (a *API) getJob(c *Call) {
	id, minted, ok := a.owned(c)
	if !ok {
		return
	}
	q, ok := a.query(c, "wait")
	if !ok {
		return
	}
	if !q.Has("wait") {
		a.show(c, id, minted)
		return
	}
	seconds, err := strconv.Atoi(q.Get("wait"))
	if err != nil || seconds < 0 || time.Duration(seconds)*time.Second > a.cfg.MaxWait {
		a.refuse(c, badRequest, "wait must be a whole number of seconds from 0 to "+strconv.Itoa(int(a.cfg.MaxWait/time.Second))+".")
		return
	}
	p := &poll{a: a, c: c, id: id, minted: minted, until: c.Started.Add(time.Duration(seconds) * time.Second)}
	if c.detached {
		p.read(c.Context())
		return
	}
	a.off(c, p.read)
}

// read answers, or begins to wait.
func (p *poll) read(ctx context.Context) {
	d, err := p.a.document(ctx, p.c.Identity.Tenant, p.id, p.minted)
	if err != nil {
		p.a.fail(p.c, err)
		return
	}
	field := p.c.Header("if-none-match")
	same := field != nil && names(field, etag(&d))
	if !p.held && (same || field == nil) && !d.State.Final() && time.Now().Before(p.until) {
		p.hold(&d)
		return
	}
	if same {
		p.c.Reply(&Answer{Status: http.StatusNotModified, Job: &d, ETag: etag(&d)})
		return
	}
	p.c.Reply(&Answer{Status: http.StatusOK, ContentType: contentJSON, Job: &d, ETag: etag(&d)})
}

func (p *poll) hold(d *jobdoc.Document) {
	p.held = true
	p.a.wait(p.c, &watch.Waiter{Job: p.id, Tenant: p.c.Identity.Tenant, Known: d.Version, Until: p.until}, p.read, func(refuse func()) { refuse() })
}

// wait runs rest when w is woken, unless the client goes away first. While the
// server stops nobody waits: rest runs at once. Where there is no room to wait,
// or to go on after it, instead is called; refuse would say so to the client.
func (a *API) wait(c *Call, w *watch.Waiter, rest func(ctx context.Context), instead func(refuse func())) {
	release, full := a.occupy(c)
	if full != limit.None {
		instead(func() { a.tooMany(c, full, retryAfter) })
		return
	}
	release = sync.OnceFunc(release) // the client may leave while w is woken
	w.Wake = func() {
		defer a.rescue(c, func() { a.fail(c, errPanic) })
		release()
		if err := a.queue(c, rest); err != nil {
			instead(func() { a.fail(c, err) })
		}
	}
	c.enter(stageHold)
	cancel, err := a.dep.Hub.Wait(w)
	switch {
	case err == nil:
		c.OnClose(func() { cancel(); release() })
	case job.KindOf(err) == job.Unavailable:
		w.Wake()
	default:
		release()
		instead(func() { a.fail(c, err) })
	}
}
