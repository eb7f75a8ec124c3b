package fair

import (
	"cmp"
	"time"

	"github.com/voicemill/voicemill/job"
)

// Work is a number of segments and what they cost together.
type Work struct {
	Segments int
	Cost     float64 // predicted, in the unit of the pool
}

func (w Work) mean() float64 {
	if w.Segments == 0 {
		return 0
	}
	return w.Cost / float64(w.Segments)
}

func (w Work) plus(o Work) Work { return Work{w.Segments + o.Segments, w.Cost + o.Cost} }

// less returns w without o, never below nothing: costs of segments are
// estimates until they are out.
func (w Work) less(o Work) Work {
	w.Segments -= o.Segments
	if w.Segments <= 0 {
		return Work{}
	}
	return Work{w.Segments, max(0, w.Cost-o.Cost)}
}

// Job is what one job has waiting for one pool.
type Job struct {
	ID       job.ID
	Pool     string
	Tenant   job.Tenant
	Class    job.Class
	Weight   float64 // of the tenant; 0 counts as 1
	Priority int
	Deadline time.Time // zero if it has none
	Accepted time.Time
	Left     Work // all that waits, as far as it is known
	Head     Work // the next bundle as planning laid it down; zero: as the mean of Left
}

type jobKey struct {
	id   job.ID
	pool string
}

// entry is a waiting job.
type entry struct {
	Job
	at     *account // where it waits
	place  int      // in its tenant's jobs
	urgent int      // in the urgent bulk jobs of its pool
	due    time.Time
	turns  int // open ones
}

// before orders the jobs of a tenant.
func before(a, b *entry) bool {
	return cmp.Or(
		compareDeadlines(a.Deadline, b.Deadline),
		cmp.Compare(b.Priority, a.Priority),
		a.Accepted.Compare(b.Accepted),
		cmp.Compare(a.ID, b.ID),
	) < 0
}

func compareDeadlines(a, b time.Time) int {
	switch {
	case a.IsZero() && b.IsZero():
		return 0
	case a.IsZero():
		return 1
	case b.IsZero():
		return -1
	}
	return a.Compare(b)
}

// head returns the next bundle of a job.
func (e *entry) head(most int) Work {
	h := e.Head
	if h.Segments <= 0 || h.Segments > e.Left.Segments {
		h = Work{e.Left.Segments, e.Left.Cost}
	}
	if h.Segments > most {
		h = Work{most, h.mean() * float64(most)}
	}
	return h
}
