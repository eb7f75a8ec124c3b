package store

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"iter"

	"github.com/jackc/pgx/v5"

	"github.com/voicemill/voicemill/job"
)

// Plan is a job whose chapters are known, or are read while they are stored.
type Plan struct {
	ID                      job.ID
	Num                     int64
	Attempt                 int // of the claim; a claim that somebody made again meanwhile stores nothing
	Tenant                  job.Tenant
	Class                   job.Class
	Title, Author, Language string
	About                   job.Metadata // what the document says of itself besides
	Callback                *job.Callback
	Verify                  job.Verify // under VerifyAll what was never heard is not reused
	Source                  Source
	Cover                   *Cover // nil for none
	Claim                   *Claim // of which it is; nil: nothing of it is handed on, see Fresh
	// Chapters yields the chapters in order. It is read once. An error ends the
	// whole commit and is returned as it is.
	Chapters iter.Seq2[*Chapter, error]
}

// Source is what a plan was read from. The zero value is a list of texts.
type Source struct {
	SHA256 []byte
	Bytes  int64
}

// Cover is a picture of a job, stored whole.
type Cover struct {
	Name      string // of the artifact
	MediaType string
	ObjectKey string
	Bytes     int64
	SHA256    []byte
}

// Chapter is one planned chapter, or a part of one: those that follow begin with
// the same ordinal until More is false. Digest is the order digest of all keys of
// the chapter so far.
type Chapter struct {
	Ordinal       int
	Title, Matter string
	FirstSegment  int
	Digest        []byte
	Segments      []PlannedSegment
	More          bool
}

// PlannedSegment is one segment as it will be spoken.
type PlannedSegment struct {
	N                               int
	Text, Voice, Language, Pool     string
	Pronunciations                  json.RawMessage // nil for none
	Instructions                    string          // of its own; empty if they are the job's, or there are none
	SourceDocument                  string
	SourceStart, SourceEnd          int64
	Break                           string
	Seconds                         float64
	RenditionKey                    string
	SampleRate, Characters, Chapter int
}

// Planned says what became of one plan.
type Planned struct {
	Version
	Segments, Reused, Chapters int
	Seconds                    float64
	Fresh                      *Fresh // nil if it is to be read
}

// CommitPlans stores plans: blocks of segments while the chapters are read, each
// lot in a short transaction that waits for nothing but the database; then, in
// one more, chapters, queues, totals and the step from planning to queued, or
// further if everything could be reused. So a plan shows at once or not at all.
// A job that left planning meanwhile, or was claimed again, is left out of the
// result. Memory does not grow with the length of a plan.
func (s *Leased) CommitPlans(ctx context.Context, plans []Plan) ([]Planned, error) {
	w := newBlockWriter(s, plans)
	for i := range plans {
		if err := w.read(ctx, &plans[i]); err != nil {
			return nil, err
		}
	}
	if err := w.look(ctx); err != nil {
		return nil, err
	}
	if w.small(plans) {
		done, err := w.atOnce(ctx, plans)
		if !isPlansLost(err) {
			return done, err
		}
	}
	var done []Planned
	err := s.tx(ctx, func(tx pgx.Tx) (err error) {
		done, err = w.finish(ctx, tx, plans)
		return err
	})
	return done, err
}

// totals are what a job's row says of its plan.
type totals struct {
	chapters, segments int
	characters         int64
	seconds            float64
	digest             job.OrderDigest
	blocks             int
	waiting            map[string]float64 // predicted seconds by pool of what is not reused
	reused             int
	reusedPredicted    float64
	reusedAudio        float64
}

type chapterColumns struct {
	jobs, titles, matters        []string
	ordinals, first, total, done []int32
	digests                      [][]byte
}

func (c *chapterColumns) add(id job.ID, ch *Chapter) {
	c.jobs, c.titles, c.matters = append(c.jobs, string(id)), append(c.titles, ch.Title), append(c.matters, ch.Matter)
	c.ordinals = append(c.ordinals, int32(ch.Ordinal)) //nolint:gosec // bounded by job.Limits
	c.first = append(c.first, int32(ch.FirstSegment))  //nolint:gosec // bounded by job.Limits
	c.total = append(c.total, int32(len(ch.Segments))) //nolint:gosec // bounded by job.Limits
	c.done, c.digests = append(c.done, 0), append(c.digests, ch.Digest)
}

// goOn adds a part of the chapter that was added last.
func (c *chapterColumns) goOn(ch *Chapter) {
	last := len(c.jobs) - 1
	c.total[last] += int32(len(ch.Segments)) //nolint:gosec // bounded by job.Limits
	c.digests[last] = ch.Digest
}

func (c *chapterColumns) only(mine map[job.ID]bool) chapterColumns {
	var out chapterColumns
	for i, id := range c.jobs {
		if mine[job.ID(id)] {
			out.jobs, out.titles, out.matters = append(out.jobs, id), append(out.titles, c.titles[i]), append(out.matters, c.matters[i])
			out.ordinals, out.first = append(out.ordinals, c.ordinals[i]), append(out.first, c.first[i])
			out.total, out.done = append(out.total, c.total[i]), append(out.done, c.done[i])
			out.digests = append(out.digests, c.digests[i])
		}
	}
	return out
}

var errBlocksGone = errors.New("blocks of the plan are gone: another planner was at it")

// finish locks the jobs, stores what is still in hand, and shows the plans.
func (w *blockWriter) finish(ctx context.Context, tx pgx.Tx, plans []Plan) ([]Planned, error) {
	open, err := w.fence(ctx, tx, "LockPlans")
	if err != nil || len(open) == 0 {
		return nil, err
	}
	if err := w.copy(ctx, tx, open); err != nil {
		return nil, err
	}
	if err := w.complete(ctx, tx, open); err != nil {
		return nil, err
	}
	mine := make(map[job.ID]bool, len(open))
	var ids []string
	for i := range plans {
		if open[plans[i].Num] {
			mine[plans[i].ID] = true
			ids = append(ids, string(plans[i].ID))
		}
	}
	c := w.chapters.only(mine)
	if _, err := tx.Exec(ctx, w.s.q.Get("InsertChapters"), c.jobs, c.ordinals, c.titles, c.matters, c.first, c.total, c.done, c.digests); err != nil {
		return nil, fmt.Errorf("insert chapters: %w", err)
	}
	if err := w.covers(ctx, tx, plans, open); err != nil {
		return nil, fmt.Errorf("insert covers: %w", err)
	}
	if err := w.queue(ctx, tx, plans, open); err != nil {
		return nil, fmt.Errorf("queue jobs: %w", err)
	}
	if _, err := tx.Exec(ctx, w.s.q.Get("AdvanceJobs"), ids); err != nil {
		return nil, fmt.Errorf("advance jobs: %w", err)
	}
	versions, err := collectVersions(tx.Query(ctx, w.s.q.Get("JobVersions"), ids))
	if err != nil {
		return nil, err
	}
	return w.planned(versions), nil
}

// planned says what became of the jobs that have these versions now.
func (w *blockWriter) planned(versions []Version) []Planned {
	done := make([]Planned, 0, len(versions))
	for _, v := range versions {
		t := w.totals[v.ID]
		done = append(done, Planned{
			Version: v, Segments: t.segments, Reused: t.reused, Chapters: t.chapters, Seconds: t.seconds, Fresh: w.fresh[v.ID].as(v.Version),
		})
	}
	return done
}

// covers makes the covers of the plans files of their jobs.
func (w *blockWriter) covers(ctx context.Context, tx pgx.Tx, plans []Plan, open map[int64]bool) error {
	var ids, names, types, keys []string
	var sizes []int64
	var sums [][]byte
	for i := range plans {
		if c := plans[i].Cover; c != nil && open[plans[i].Num] {
			ids, names, types, keys = append(ids, string(plans[i].ID)), append(names, c.Name), append(types, c.MediaType), append(keys, c.ObjectKey)
			sizes, sums = append(sizes, c.Bytes), append(sums, c.SHA256)
		}
	}
	if len(ids) == 0 {
		return nil
	}
	_, err := tx.Exec(ctx, w.s.q.Get("InsertCovers"), ids, names, types, keys, sizes, sums)
	return err
}

// complete checks that every block is there: a planner that was thought dead may
// have dropped some.
func (w *blockWriter) complete(ctx context.Context, tx pgx.Tx, open map[int64]bool) error {
	rows, err := tx.Query(ctx, w.s.q.Get("CountBlocks"), w.nums)
	if err != nil {
		return err
	}
	there := make(map[int64]int, len(open))
	var num int64
	var n int
	if _, err := pgx.ForEachRow(rows, []any{&num, &n}, func() error { there[num] = n; return nil }); err != nil {
		return err
	}
	for id, t := range w.totals {
		if num := w.numOf[id]; open[num] && there[num] != t.blocks {
			return &job.Error{Op: "store.CommitPlans", JobID: id, Kind: job.Unavailable, Err: errBlocksGone}
		}
	}
	return nil
}

// queue moves the jobs from planning to queued.
func (w *blockWriter) queue(ctx context.Context, tx pgx.Tx, plans []Plan, open map[int64]bool) error {
	q, err := w.columns(plans, open)
	if err != nil {
		return err
	}
	if _, err := tx.Exec(ctx, w.s.q.Get("InsertQueues"), q.queues()...); err != nil {
		return err
	}
	if _, err := tx.Exec(ctx, w.s.q.Get("QueueJobs"), q.jobs()...); err != nil {
		return err
	}
	return w.s.sendNotices(ctx, tx, q.notices)
}

// queueColumns are the arrays that InsertQueues and QueueJobs take.
type queueColumns struct {
	queued  []int64
	pools   []string
	waiting []float32

	ids, titles, authors, languages, abouts []string
	segments, chapters, reused              []int32
	characters, sizes                       []int64
	predicted, done, audio                  []float64
	digests, sources                        [][]byte

	notices []Notice
}

func (q *queueColumns) queues() []any { return []any{q.queued, q.pools, q.waiting} }

func (q *queueColumns) jobs() []any {
	return []any{
		q.ids, q.titles, q.languages, q.segments, q.chapters, q.characters, q.predicted, q.digests, q.reused, q.done, q.audio, q.authors,
		q.sources, q.sizes, q.abouts,
	}
}

// columns returns what queues the jobs that are open. A job that is all reused will
// never be released, so its callback for the start is stored with it.
func (w *blockWriter) columns(plans []Plan, open map[int64]bool) (q queueColumns, err error) {
	for i := range plans {
		p, t := &plans[i], w.totals[plans[i].ID]
		if !open[p.Num] {
			continue
		}
		for pool, seconds := range t.waiting {
			q.queued, q.pools, q.waiting = append(q.queued, p.Num), append(q.pools, pool), append(q.waiting, float32(seconds))
		}
		q.ids, q.titles, q.authors, q.languages = append(q.ids, string(p.ID)), append(q.titles, p.Title), append(q.authors, p.Author), append(q.languages, p.Language)
		about, err := besides(p.About)
		if err != nil {
			return q, err
		}
		q.abouts = append(q.abouts, about)
		q.segments, q.chapters = append(q.segments, int32(t.segments)), append(q.chapters, int32(t.chapters)) //nolint:gosec // bounded by job.Limits
		q.characters, q.predicted = append(q.characters, t.characters), append(q.predicted, t.seconds)
		q.digests, q.reused = append(q.digests, t.digest.Sum()), append(q.reused, int32(t.reused)) //nolint:gosec // bounded by job.Limits
		q.done, q.audio = append(q.done, t.reusedPredicted), append(q.audio, t.reusedAudio)
		q.sources, q.sizes = append(q.sources, p.Source.SHA256), append(q.sizes, p.Source.Bytes)
		if n, wanted := notice(p.ID, p.Tenant, p.Callback, job.EventStarted); wanted && t.reused == t.segments {
			q.notices = append(q.notices, n)
		}
	}
	return q, nil
}

// besides is what is kept of what a document says of itself beside title and author,
// which have columns of their own.
func besides(about job.Metadata) (string, error) {
	about.Title, about.Author = "", ""
	raw, err := json.Marshal(about)
	return string(raw), err
}

func keyBytes(key string) ([]byte, error) {
	raw, err := hex.DecodeString(key)
	if err != nil || len(raw) != keySize {
		return nil, &job.Error{Op: "store.CommitPlans", Kind: job.Internal, Err: fmt.Errorf("rendition key %q is not %d bytes in hex", key, keySize)}
	}
	return raw, nil
}
