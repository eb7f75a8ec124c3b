package store

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/platform/pg"
)

// Leased writes what only the leader may write. A call changes nothing when
// another holds the lease: pg.IsLeaseLost tells.
type Leased struct {
	*Store
	lease pg.Lease
}

// Under returns the leader's part of s.
func (s *Store) Under(l pg.Lease) *Leased { return &Leased{Store: s, lease: l} }

// Move is a queue that goes on: from Prev to Next, or to its end.
type Move struct {
	Job        int64
	Pool       string
	Prev, Next int
	Seconds    float64 // predicted audio in between
	Ends       bool
}

// Mark is a bundle that goes out for the first time.
type Mark struct {
	Job     int64
	Pool    string
	N       int
	Mask    uint64
	Seconds float64
}

// Later is a segment that a cursor passes without releasing it.
type Later struct {
	Job  int64
	Pool string
	N    int
}

// Step is what one step of the leader's loop writes.
type Step struct {
	Starts  []Start
	Moves   []Move
	Marks   []Mark
	Laters  []Later
	Pause   float64 // seconds until what is in Laters is due
	Retries []Retry
	Joins   []Due
	Times   []VirtualTime
}

// Start is a job whose first segments go out; URL is where its owner wants to
// hear of it, if at all.
type Start struct {
	Job int64
	URL string
}

// Stepped is what of a Step came true.
type Stepped struct {
	Started []Version
	Moved   map[QueueID]bool
	Again   map[BundleID]bool // by the attempt that goes out
	Joins   map[int64]int     // the attempt of each row
}

// QueueID names a queue.
type QueueID struct {
	Job  int64
	Pool string
}

// Step marks work as released, starts the jobs whose first it is, and saves
// virtual times.
func (s *Leased) Step(ctx context.Context, st Step) (Stepped, error) {
	done := Stepped{Moved: map[QueueID]bool{}, Again: map[BundleID]bool{}, Joins: map[int64]int{}}
	b := s.batch()
	if err := s.queueStarts(b, st.Starts, &done); err != nil {
		return Stepped{}, err
	}
	s.queueRetries(b, st.Retries, &done)
	s.queueMoves(b, st, &done)
	s.queueJoins(b, st.Joins, &done)
	s.queueTimes(b, st.Times)
	if err := s.send(ctx, b); err != nil {
		return Stepped{}, fmt.Errorf("mark %d bundles: %w", len(st.Marks)+len(st.Retries), err)
	}
	return done, nil
}

func (s *Leased) batch() *pgx.Batch {
	b := &pgx.Batch{}
	b.Queue(s.q.Get("HoldLease"), s.lease.Name, s.lease.Epoch)
	return b
}

func (s *Leased) send(ctx context.Context, b *pgx.Batch) error {
	return pg.Classify(s.pool.SendBatch(ctx, b).Close())
}

// exec runs one statement and returns how many rows it changed.
func (s *Leased) exec(ctx context.Context, query string, args ...any) (changed int, err error) {
	b := s.batch()
	b.Queue(s.q.Get(query), args...).Exec(func(tag pgconn.CommandTag) error { changed = int(tag.RowsAffected()); return nil })
	return changed, s.send(ctx, b)
}

// change is collect for a statement that writes.
func change[T any](ctx context.Context, s *Leased, query string, args []any, scan pgx.RowToFunc[T]) (list []T, err error) {
	b := s.batch()
	b.Queue(s.q.Get(query), args...).Query(func(rows pgx.Rows) (err error) {
		list, err = pgx.CollectRows(rows, scan)
		return err
	})
	return list, s.send(ctx, b)
}

// tx runs fn in a transaction. It asks for the lease last: a leader that is
// stopped in the middle must not keep another from taking over.
func (s *Leased) tx(ctx context.Context, fn func(pgx.Tx) error) error {
	return pg.Tx(ctx, s.pool, func(tx pgx.Tx) error {
		if err := fn(tx); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, s.q.Get("HoldLease"), s.lease.Name, s.lease.Epoch)
		return err
	})
}

func (s *Leased) queueStarts(b *pgx.Batch, starts []Start, done *Stepped) error {
	if len(starts) == 0 {
		return nil
	}
	nums := make([]int64, len(starts))
	var ids, urls []string
	var told []int64
	for i, st := range starts {
		nums[i] = st.Job
		if st.URL == "" {
			continue
		}
		id, err := job.NewToken("dlv_", s.random)
		if err != nil {
			return err
		}
		ids, told, urls = append(ids, id), append(told, st.Job), append(urls, st.URL)
	}
	b.Queue(s.q.Get("StartJobs"), nums, ids, told, urls, job.EventStarted).Query(func(rows pgx.Rows) (err error) {
		done.Started, err = collectVersions(rows, nil)
		return err
	})
	return nil
}

func (s *Leased) queueRetries(b *pgx.Batch, list []Retry, done *Stepped) {
	if len(list) == 0 {
		return
	}
	nums, ns := make([]int64, len(list)), make([]int32, len(list))
	attempts, seconds := make([]int16, len(list)), make([]float32, len(list))
	at := make(map[[2]int64]int, len(list))
	for i := range list {
		r := &list[i]
		nums[i], ns[i], attempts[i], seconds[i] = r.Num, int32(r.N), int16(r.Attempts), float32(r.Seconds) //nolint:gosec // read from such columns
		at[[2]int64{r.Num, int64(r.N)}] = r.Attempts + 1
	}
	b.Queue(s.q.Get("ReleaseRetries"), nums, ns, attempts, seconds).Query(func(rows pgx.Rows) error {
		var num, n int64
		_, err := pgx.ForEachRow(rows, []any{&num, &n}, func() error {
			done.Again[BundleID{num, int(n), at[[2]int64{num, n}]}] = true
			return nil
		})
		return err
	})
}

func (s *Leased) queueMoves(b *pgx.Batch, st Step, done *Stepped) {
	if len(st.Moves) == 0 {
		return
	}
	var m struct {
		jobs       []int64
		pools      []string
		prev, next []int32
		seconds    []float32
		ends       []bool
	}
	for _, v := range st.Moves {
		m.jobs, m.pools = append(m.jobs, v.Job), append(m.pools, v.Pool)
		m.prev, m.next = append(m.prev, int32(v.Prev)), append(m.next, int32(v.Next)) //nolint:gosec // bounded by job.Limits
		m.seconds, m.ends = append(m.seconds, float32(v.Seconds)), append(m.ends, v.Ends)
	}
	var o struct {
		jobs    []int64
		pools   []string
		ns      []int32
		masks   []int64
		seconds []float32
	}
	for _, v := range st.Marks {
		o.jobs, o.pools = append(o.jobs, v.Job), append(o.pools, v.Pool)
		o.ns, o.masks = append(o.ns, int32(v.N)), append(o.masks, int64(v.Mask)) //nolint:gosec // bounded; a bit set
		o.seconds = append(o.seconds, float32(v.Seconds))
	}
	var l struct {
		jobs  []int64
		pools []string
		ns    []int32
	}
	for _, v := range st.Laters {
		l.jobs, l.pools, l.ns = append(l.jobs, v.Job), append(l.pools, v.Pool), append(l.ns, int32(v.N)) //nolint:gosec // bounded by job.Limits
	}
	b.Queue(s.q.Get("ReleaseBundles"), m.jobs, m.pools, m.prev, m.next, m.seconds, m.ends, o.jobs, o.pools, o.ns, o.masks, o.seconds,
		l.jobs, l.pools, l.ns, st.Pause).Query(func(rows pgx.Rows) error {
		var q QueueID
		_, err := pgx.ForEachRow(rows, []any{&q.Job, &q.Pool}, func() error { done.Moved[q] = true; return nil })
		return err
	})
}

func (s *Leased) queueJoins(b *pgx.Batch, list []Due, done *Stepped) {
	if len(list) == 0 {
		return
	}
	rows, attempts := make([]int64, len(list)), make([]int32, len(list))
	for i := range list {
		rows[i], attempts[i] = list[i].Row, int32(list[i].Attempt) //nolint:gosec // read from such a column
	}
	b.Queue(s.q.Get("ReleaseOutbox"), rows, attempts).Query(func(rows pgx.Rows) error {
		var row int64
		var attempt int
		_, err := pgx.ForEachRow(rows, []any{&row, &attempt}, func() error { done.Joins[row] = attempt; return nil })
		return err
	})
}

func (s *Leased) queueTimes(b *pgx.Batch, times []VirtualTime) {
	if len(times) == 0 {
		return
	}
	pools, classes, tenants, values := make([]string, len(times)), make([]string, len(times)), make([]string, len(times)), make([]float64, len(times))
	for i, t := range times {
		pools[i], classes[i], tenants[i], values[i] = t.Pool, string(t.Class), string(t.Tenant), t.Value
	}
	b.Queue(s.q.Get("SaveVirtualTimes"), pools, classes, tenants, values)
}

// Split takes back a bundle that is too large for one message: its segments
// come again one by one.
func (s *Leased) Split(ctx context.Context, id BundleID) error {
	b := s.batch()
	b.Queue(s.q.Get("LockOpenJob"), id.Job)
	b.Queue(s.q.Get("SplitBundle"), id.Job, id.N, id.Attempt)
	return s.send(ctx, b)
}

// Fail ends a segment that is out alone and cannot travel at all. It returns
// the version that its job has then.
func (s *Leased) Fail(ctx context.Context, id BundleID, chapter int, seconds float64, kind job.Kind, detail string) (v Version, err error) {
	b := s.batch()
	b.Queue(s.q.Get("LockOpenJob"), id.Job)
	b.Queue(s.q.Get("FailSegment"), id.Job, id.N, id.Attempt, chapter, seconds, kind.String(), detail)
	b.Queue(s.q.Get("AdvanceNum"), id.Job)
	b.Queue(s.q.Get("VersionOf"), id.Job).QueryRow(func(r pgx.Row) error { return r.Scan(&v.ID, &v.Version) })
	return v, s.send(ctx, b)
}

// Drop removes what is out of jobs that have ended or are gone.
func (s *Leased) Drop(ctx context.Context, ids []BundleID) error {
	nums, ns, attempts := make([]int64, len(ids)), make([]int32, len(ids)), make([]int16, len(ids))
	for i, id := range ids {
		nums[i], ns[i], attempts[i] = id.Job, int32(id.N), int16(id.Attempt) //nolint:gosec // read from such columns
	}
	b := s.batch()
	b.Queue(s.q.Get("DropOutstanding"), nums, ns, attempts)
	return s.send(ctx, b)
}

// Forget removes virtual times of tenants that were away for long.
func (s *Leased) Forget(ctx context.Context, times []VirtualTime) error {
	pools, classes, tenants := make([]string, len(times)), make([]string, len(times)), make([]string, len(times))
	for i, t := range times {
		pools[i], classes[i], tenants[i] = t.Pool, string(t.Class), string(t.Tenant)
	}
	b := s.batch()
	b.Queue(s.q.Get("ForgetVirtualTimes"), pools, classes, tenants)
	return s.send(ctx, b)
}
