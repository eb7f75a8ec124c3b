package operation

import (
	"context"
	"log/slog"
	"strconv"
	"time"

	"github.com/voicemill/voicemill/api/jobdoc"
	"github.com/voicemill/voicemill/gateway/internal/auth"
	"github.com/voicemill/voicemill/gateway/internal/documents"
	"github.com/voicemill/voicemill/gateway/internal/problem"
	"github.com/voicemill/voicemill/gateway/internal/store"
	"github.com/voicemill/voicemill/gateway/internal/watch"
	"github.com/voicemill/voicemill/job"
)

// Tag names what somebody has seen of a job, as an entity tag. It is weak: estimates
// move without a new version.
func Tag(d *jobdoc.Document) string {
	if d.Version == 0 && d.State == job.StateCancelled {
		return `W/"0-cancelled"`
	}
	if w := d.Waiting; w != nil { // a pool changes without the job
		return `W/"` + strconv.FormatInt(d.Version, 10) + "-" + w.Reason + strconv.FormatInt(w.Since.Unix(), 10) + `"`
	}
	return `W/"` + strconv.FormatInt(d.Version, 10) + `"`
}

// Kept returns the document of a job if everything for it is in memory: who calls,
// how much they may, and where the job is. It returns nil otherwise, also if the
// caller may not, and then [Operations.Admit] says why. It does not block and
// allocates nothing.
func (o *Operations) Kept(c *Caller, id []byte) *documents.Document {
	who, _ := o.dep.Keys.Get(c.Shown.Hash, c.Started)
	if who == nil || !who.May(auth.JobsRead) {
		return nil
	}
	d := o.dep.Documents.Lookup(who.Tenant, id, c.Started)
	if d == nil {
		return nil
	}
	c.Quota = o.dep.Guard.Request(who.KeyID, string(who.Tenant), c.Started)
	if c.Quota.Refused() { // of which nothing was taken
		return nil
	}
	c.Identity = *who
	return d
}

// minted returns when the id was, if that was for the caller's tenant. Otherwise
// there is no such job: an id says by itself whose it is.
func (o *Operations) minted(c *Caller, id job.ID) (at time.Time, err error) {
	at, ok := o.dep.Minter.Minted(id, c.Tenant)
	if !ok {
		return at, problem.New(problem.NotFound, "There is no such job.")
	}
	return at, nil
}

// Owns refuses who does not own the job.
func (o *Operations) Owns(c *Caller, id job.ID) error {
	_, err := o.minted(c, id)
	return err
}

// Get returns the document of a job as it is or was a moment ago.
func (o *Operations) Get(ctx context.Context, c *Caller, id job.ID) (*documents.Document, error) {
	at, err := o.minted(c, id)
	if err != nil {
		return nil, err
	}
	return o.dep.Documents.Read(ctx, c.Tenant, id, c.Started, func(ctx context.Context) (*documents.Document, error) {
		d, err := o.load(ctx, c.Tenant, id, at)
		if err != nil {
			return nil, err
		}
		return &documents.Document{Tenant: c.Tenant, Job: &d, Body: append(Encode(&d), '\n'), ETag: Tag(&d)}, nil
	})
}

// Poll returns a job when it is not as its caller has seen it, when it has ended, or
// after wait. seen says which tags the caller has seen; nil is the one of now.
func (o *Operations) Poll(ctx context.Context, c *Caller, id job.ID, wait time.Duration, seen func(tag string) bool) (*jobdoc.Document, error) {
	if wait < 0 || wait > o.cfg.MaxWait {
		return nil, problem.Newf(problem.BadRequest, "wait must be a whole number of seconds from 0 to %d.", int(o.cfg.MaxWait/time.Second))
	}
	at, err := o.minted(c, id)
	if err != nil {
		return nil, err
	}
	d, err := o.document(ctx, c.Tenant, id, at)
	until := c.Started.Add(wait)
	if err != nil || d.State.Final() || seen != nil && !seen(Tag(&d)) || !time.Now().Before(until) {
		return &d, err
	}
	release, err := o.occupy(c)
	if err != nil {
		return nil, err
	}
	defer release()
	err = o.hold(ctx, watch.Waiter{Job: id, Tenant: c.Tenant, Known: d.Version, Until: until})
	if err != nil && job.KindOf(err) != job.Unavailable { // while the server stops nobody waits
		return nil, err
	}
	d, err = o.document(ctx, c.Tenant, id, at)
	return &d, err
}

// document reads a job that its owner is about to be shown.
func (o *Operations) document(ctx context.Context, tenant job.Tenant, id job.ID, minted time.Time) (jobdoc.Document, error) {
	d, err := o.load(ctx, tenant, id, minted)
	if err == nil {
		o.dep.Documents.Seen(&d)
	}
	return d, err
}

// load reads a job. A job that was minted but has no row is accepted, or
// cancelled before the scheduler saw it (invariant I2): it is NotFound only if it
// was deleted, or is so old that it would have a row if it was not.
func (o *Operations) load(ctx context.Context, tenant job.Tenant, id job.ID, minted time.Time) (jobdoc.Document, error) {
	row, err := o.dep.Store.ReadJob(ctx, tenant, id)
	switch {
	case err == nil:
		return jobdoc.Build(row, time.Now())
	case job.KindOf(err) != job.NotFound:
		return jobdoc.Document{}, err
	}
	d := jobdoc.Accepted(id, minted, nil)
	fate, err := o.dep.Store.FateOf(ctx, id)
	switch {
	case err != nil:
	case fate.Deleted, time.Since(minted) > job.LongestArrival:
		err = &job.Error{Op: "operation.load", JobID: id, Kind: job.NotFound, Public: "The job was deleted."}
	case fate.Cancelled:
		d.State = job.StateCancelled
	}
	return d, err
}

// List returns at most limit jobs after the cursor, newest first, without their
// lists; next leads on if there are more.
func (o *Operations) List(ctx context.Context, c *Caller, f store.JobFilter, after store.Cursor, limit int) (page []jobdoc.Document, next string, err error) {
	rows, err := o.dep.Store.ListJobs(ctx, c.Tenant, f, after, limit+1)
	if err != nil {
		return nil, "", err
	}
	rows, next = paged(rows, limit, func(r *jobdoc.Row) store.Cursor { return store.Cursor{At: r.AcceptedAt, ID: r.ID} })
	now := time.Now()
	page = make([]jobdoc.Document, 0, len(rows))
	for i := range rows {
		d, err := jobdoc.Build(&rows[i], now)
		if err != nil {
			return nil, "", err
		}
		o.dep.Documents.Seen(&d)
		page = append(page, d)
	}
	return page, next, nil
}

// paged cuts a page that was asked for with one more to limit; next leads on if the
// one more is there.
func paged[T any](page []T, limit int, at func(*T) store.Cursor) (cut []T, next string) {
	if len(page) <= limit {
		return page, ""
	}
	return page[:limit], at(&page[limit-1]).String()
}

// Segments returns at most limit segments of a job after the one of that number;
// more says whether others follow.
func (o *Operations) Segments(ctx context.Context, c *Caller, id job.ID, f store.SegmentFilter, after, limit int) (page []store.Segment, more bool, err error) {
	if _, err := o.minted(c, id); err != nil {
		return nil, false, err
	}
	page, err = o.dep.Store.ListSegments(ctx, id, f, after, limit+1)
	if len(page) > limit {
		return page[:limit], true, err
	}
	return page, false, err
}

// Cancel cancels a job and returns it. One that has ended stays as it is.
func (o *Operations) Cancel(ctx context.Context, c *Caller, id job.ID) (*jobdoc.Document, error) {
	at, err := o.minted(c, id)
	if err != nil {
		return nil, err
	}
	if err := o.cancel(ctx, c.Tenant, id); err != nil {
		return nil, err
	}
	d, err := o.document(ctx, c.Tenant, id, at)
	return &d, err
}

// cancel cancels a job. Once begun it is finished even if ctx ends.
func (o *Operations) cancel(ctx context.Context, tenant job.Tenant, id job.ID) error {
	ctx = context.WithoutCancel(ctx)
	done, err := o.dep.Store.CancelJob(ctx, tenant, id)
	o.dep.Documents.Forget(id) // even after an error, which may hide a commit
	if err != nil {
		return err
	}
	if done.Changed || done.Early { // early ones have version 0
		o.dep.Bus.Hint(id, done.Version)
	}
	if done.Released { // a worker that has one of its messages already finds the segment cancelled
		if err := o.dep.Bus.PurgeJob(ctx, id); err != nil {
			o.dep.Log.LogAttrs(ctx, slog.LevelInfo, "work of a cancelled job not purged", slog.String("job_id", string(id)), slog.Any("error", err))
		}
	}
	o.dep.Hub.Hint(id)
	return nil
}
