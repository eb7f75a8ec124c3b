package documents

import (
	"context"
	"errors"
	"time"

	"github.com/voicemill/voicemill/job"
)

// Reading is one look at a job that is under way. It is settled once.
type Reading struct {
	c      *Cache
	s      *shard
	id     job.ID
	tenant job.Tenant
	began  time.Time

	// Guarded by s.mu.
	waiting []func(*Document, error)
	least   int64 // rank below which the outcome is not kept
	void    bool  // the outcome is not kept
	next    *Reading
}

// Read returns the document of a job of that tenant: one that is kept, or the
// outcome of the reading that is under way, or of read, which then serves others,
// too, and goes on if ctx ends.
func (c *Cache) Read(ctx context.Context, tenant job.Tenant, id job.ID, now time.Time, read func(ctx context.Context) (*Document, error)) (*Document, error) {
	type outcome struct {
		d   *Document
		err error
	}
	settled := make(chan outcome, 1) // whoever settles does not wait
	d, reading := c.Join(tenant, id, now, func(d *Document, err error) { settled <- outcome{d, err} })
	if d != nil {
		return d, nil
	}
	if reading != nil {
		reading.run(context.WithoutCancel(ctx), read)
	}
	select {
	case o := <-settled:
		return o.d, o.err
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

var errPanic = errors.New("documents: the reading panicked")

// run does the reading. It is settled even if read panics.
func (r *Reading) run(ctx context.Context, read func(ctx context.Context) (*Document, error)) {
	var d *Document
	err := errPanic // unless it returns
	defer func() { r.Settle(d, err) }()
	d, err = read(ctx)
}

// Settle ends the reading with what was read, or with why nothing was, and tells
// everybody who joined. d must be of the job and tenant that the reading is of.
func (r *Reading) Settle(d *Document, err error) {
	for _, then := range r.end(d, err) {
		then(d, err)
	}
}

// end keeps the outcome and returns who waits for it.
func (r *Reading) end(d *Document, err error) []func(*Document, error) {
	s := r.s
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.joinable[r.id] == r {
		delete(s.joinable, r.id)
	}
	r.unlinkLocked()
	waiting := r.waiting
	r.waiting = nil
	if err == nil && d != nil {
		r.keepLocked(d)
	}
	return waiting
}

func (r *Reading) unlinkLocked() {
	s := r.s
	first := s.readings[r.id]
	if first == r {
		if r.next == nil {
			delete(s.readings, r.id)
		} else {
			s.readings[r.id] = r.next
		}
		return
	}
	for at := first; at != nil; at = at.next {
		if at.next == r {
			at.next = r.next
			return
		}
	}
}

// keepLocked keeps d unless something later is known, or may have happened. It
// is about to be shown to those who wait, so it supersedes other readings even if
// it is not kept.
func (r *Reading) keepLocked(d *Document) {
	s, at, until := r.s, d.rank(), r.began.Add(r.c.cfg.MaxAge)
	if old := s.kept[r.id]; old != nil {
		if o := old.doc.rank(); o > at || o == at && old.until.After(until) {
			return
		}
		s.dropLocked(old)
	}
	s.supersedeLocked(r.id, at)
	share, size := r.c.cfg.Bytes/shards, d.size()
	if r.void || at < r.least || r.c.cfg.MaxAge == 0 || size > share/largest {
		return
	}
	for s.bytes+size > share {
		s.dropLocked(s.order.next)
	}
	e := &entry{doc: d, until: until, prev: s.order.prev, next: &s.order}
	s.order.prev.next, s.order.prev = e, e
	s.kept[r.id] = e
	s.bytes += size
}

// Job returns which job is read.
func (r *Reading) Job() job.ID { return r.id }
