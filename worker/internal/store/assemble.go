package store

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/platform/pg"
)

// Chapter is what joining one chapter needs to know.
type Chapter struct {
	JobID          job.ID
	Job            int64 // how the database names it
	Ordinal        int
	State          job.ChapterState
	Attempts       int // how often joining it went wrong; the fence of what is stored of it
	Spared         int // of these, what counts against nothing: a command has asked for it anew since
	First          int // number of its first segment
	SegmentsTotal  int
	SegmentsDone   int // done and reused
	SegmentsFailed int
	PlanDigest     []byte
	Tenant         job.Tenant
	Class          job.Class
	JobFinal       bool
	OnFailure      job.OnFailure
	Pauses         job.Pauses
	Loudness       string // the level that was asked for; empty: none
	Callback       *job.Callback
}

// Chapter reads one chapter; NotFound if its job is gone.
func (s *Store) Chapter(ctx context.Context, id job.ID, ordinal int) (Chapter, error) {
	c := Chapter{JobID: id, Ordinal: ordinal}
	var pauses, callback []byte
	err := s.pool.QueryRow(ctx, s.q.Get("Chapter"), id, ordinal).Scan(&c.Job, &c.State, &c.Attempts, &c.Spared, &c.First, &c.SegmentsTotal,
		&c.SegmentsDone, &c.SegmentsFailed, &c.PlanDigest, &c.Tenant, &c.Class, &c.JobFinal, &c.OnFailure, &pauses, &callback, &c.Loudness)
	if err != nil {
		return Chapter{}, fmt.Errorf("read chapter %d of %s: %w", ordinal, id, pg.Classify(err))
	}
	c.Pauses, c.Callback, err = decodeSpec(pauses, callback)
	return c, err
}

// decodeSpec reads the two parts of a job's spec that matter at the end of it.
func decodeSpec(pauses, callback []byte) (p job.Pauses, c *job.Callback, err error) {
	p = job.DefaultPauses()
	if string(pauses) != "null" {
		if err := json.Unmarshal(pauses, &p); err != nil {
			return p, nil, &job.Error{Op: "store.decodeSpec", Kind: job.Internal, Err: fmt.Errorf("read pauses: %w", err)}
		}
	}
	if err := json.Unmarshal(callback, &c); err != nil {
		return p, nil, &job.Error{Op: "store.decodeSpec", Kind: job.Internal, Err: fmt.Errorf("read callback: %w", err)}
	}
	return p, c, nil
}

// Segment is one segment of a chapter that is to be joined. What follows Rendered
// is of its rendition.
type Segment struct {
	N            int
	State        job.SegmentState
	BreakAfter   string
	RenditionKey string
	Rendered     bool // its rendition is there
	SampleRate   int
	Samples      int64
	Suffix       string
	ObjectKey    string
	Bytes        int64
	SHA256       []byte
	Sound        *Sound // nil if it was never measured
}

// Segments returns the segments from to to of a chapter, in reading order.
func (s *Store) Segments(ctx context.Context, c Chapter, from, to int) ([]Segment, error) {
	return collect(ctx, s, "ChapterSegments", func(row pgx.CollectableRow) (g Segment, err error) {
		var h heard
		err = row.Scan(append([]any{&g.N, &g.State, &g.BreakAfter, &g.RenditionKey, &g.Rendered, &g.SampleRate, &g.Samples, &g.Suffix, &g.Bytes, &g.SHA256}, h.targets()...)...)
		g.Sound = h.sound()
		g.ObjectKey = ObjectKey(c.Tenant, g.RenditionKey, g.Suffix)
		return g, err
	}, c.Job, from, to)
}

// heard reads what is stored of a sound, all of it or nothing.
type heard struct {
	levels [3]*float32
	ends   [2]*int32
}

func (h *heard) targets() []any {
	return []any{&h.levels[0], &h.levels[1], &h.levels[2], &h.ends[0], &h.ends[1]}
}

func (h *heard) sound() *Sound {
	if h.levels[0] == nil {
		return nil
	}
	return &Sound{LUFS: *h.levels[0], RMS: *h.levels[1], TruePeak: *h.levels[2], Lead: *h.ends[0], Tail: *h.ends[1]}
}

// Artifact is one finished file of a job, stored whole.
type Artifact struct {
	Name         string
	MediaType    string
	ObjectKey    string
	Bytes        int64
	SHA256       []byte
	AudioSeconds *float64            // nil if the file has no sound
	Loudness     *job.LoudnessReport // nil if none was asked for, or it was not measured
}

// Joined is a chapter whose audio file is stored.
type Joined struct {
	Proof      []byte // digest over the keys that were joined, in order
	SampleRate int
	Samples    int64
	File       Artifact
}

// ReadyChapter makes c ready: the chapter, its artifact, the job's counters, the
// event if it is wanted, and whatever becomes due because of it; ok is false if
// c is no longer what it was when it was read, or the proof does not hold.
func (s *Store) ReadyChapter(ctx context.Context, c Chapter, j Joined) (ok bool, err error) {
	t, err := s.told(job.EventChapterReady, c.Callback)
	if err != nil {
		return false, err
	}
	f := &j.File
	err = pg.Batch(ctx, s.pool, func(b *pgx.Batch) error {
		s.queueLock(b, c.JobID)
		s.queueChange(b, &ok, "ReadyChapter", c.JobID, c.Ordinal, c.Attempts, j.Proof, j.SampleRate, j.Samples,
			f.Name, f.ObjectKey, f.Bytes, f.SHA256, f.MediaType, f.AudioSeconds, f.Loudness, t.id, t.event, t.url)
		b.Queue(s.q.Get("AdvanceJob"), c.JobID)
		return nil
	})
	if err != nil {
		return false, fmt.Errorf("make chapter %d of %s ready: %w", c.Ordinal, c.JobID, err)
	}
	return ok, nil
}

// queueLock adds the lock of a job's row. NotFound if it is gone.
func (s *Store) queueLock(b *pgx.Batch, id job.ID) {
	b.Queue(s.q.Get("LockJob"), id).QueryRow(func(row pgx.Row) error { return row.Scan(nil, nil) })
}

// queueChange adds a statement that returns a row if it has changed something, which
// ok tells.
func (s *Store) queueChange(b *pgx.Batch, ok *bool, name string, args ...any) {
	b.Queue(s.q.Get(name), args...).Exec(func(tag pgconn.CommandTag) error {
		*ok = tag.RowsAffected() > 0
		return nil
	})
}

// FailChapter gives c up. The owner of the job is shown detail.
func (s *Store) FailChapter(ctx context.Context, c Chapter, kind job.Kind, detail string) (ok bool, err error) {
	return s.changeChapter(ctx, c, func(tx pgx.Tx) (bool, error) {
		n, err := s.exec(ctx, tx, "FailChapter", c.JobID, c.Ordinal, c.Attempts, kind.String(), detail)
		if err != nil || n == 0 {
			return false, err
		}
		_, err = s.exec(ctx, tx, "CountFailed", c.JobID)
		return true, err
	})
}

// ParkChapter is FailChapter for a join that was tried in vain too often: what
// is noted as due stays, parked with its reason.
func (s *Store) ParkChapter(ctx context.Context, c Chapter, kind job.Kind, detail string) (ok bool, err error) {
	err = s.tx(ctx, func(tx pgx.Tx) error {
		ok = false
		final, err := s.lockJob(ctx, tx, c.JobID)
		if err != nil || final {
			return err
		}
		n, err := s.exec(ctx, tx, "FailChapter", c.JobID, c.Ordinal, c.Attempts, kind.String(), detail)
		if err != nil || n == 0 {
			return err
		}
		ok = true
		if _, err := s.exec(ctx, tx, "CountFailed", c.JobID); err != nil {
			return err
		}
		if _, err := s.exec(ctx, tx, "ParkDue", dueJoin, c.JobID, c.Ordinal, kind.String(), detail); err != nil {
			return err
		}
		_, err = s.exec(ctx, tx, "AdvanceJob", c.JobID)
		return err
	})
	return ok && err == nil, err
}

// changeChapter runs change with the job locked. If it changed something, the
// chapter's outbox row goes and the job moves on.
func (s *Store) changeChapter(ctx context.Context, c Chapter, change func(pgx.Tx) (bool, error)) (ok bool, err error) {
	err = s.tx(ctx, func(tx pgx.Tx) error {
		ok = false
		final, err := s.lockJob(ctx, tx, c.JobID)
		if err != nil || final {
			return err
		}
		if ok, err = change(tx); err != nil || !ok {
			return err
		}
		if _, err := s.exec(ctx, tx, "DropOutbox", dueJoin, c.JobID, c.Ordinal); err != nil {
			return err
		}
		_, err = s.exec(ctx, tx, "AdvanceJob", c.JobID)
		return err
	})
	return ok && err == nil, err
}

func (s *Store) lockJob(ctx context.Context, tx pgx.Tx, id job.ID) (final bool, err error) {
	var state job.State
	if err := tx.QueryRow(ctx, s.q.Get("LockJob"), id).Scan(&state, &final); err != nil {
		return false, fmt.Errorf("lock job %s: %w", id, err)
	}
	return final, nil
}

// told is a delivery as statements take it; empty if nobody wants it.
type told struct{ id, event, url string }

// told returns the delivery of an event if a callback asks for it.
func (s *Store) told(event string, c *job.Callback) (told, error) {
	if !c.Wants(event) {
		return told{}, nil
	}
	id, err := job.NewToken("dlv_", s.random)
	if err != nil {
		return told{}, err
	}
	return told{id, event, c.URL}, nil
}

// Broken is a segment whose rendition cannot be joined as it is.
type Broken struct {
	RenditionKey string
	Damaged      bool   // its object is missing or damaged; else the rendition is gone already
	Suffix       string // of that object
	Detail       string // kept with the segment
}

// ReopenChapter makes the broken segments of c work again and lets c wait for
// them. The rows of damaged renditions go, so that they are rendered anew.
func (s *Store) ReopenChapter(ctx context.Context, c Chapter, broken []Broken) (ok bool, err error) {
	keys, details := make([][]byte, 0, len(broken)), make([]string, 0, len(broken))
	var damaged [][]byte
	var suffixes []string
	seen := map[string]bool{}
	for _, b := range broken {
		if seen[b.RenditionKey] {
			continue // the same words again
		}
		seen[b.RenditionKey] = true
		key, err := decodeKey(b.RenditionKey)
		if err != nil {
			return false, err
		}
		keys, details = append(keys, key), append(details, b.Detail)
		if b.Damaged {
			damaged, suffixes = append(damaged, key), append(suffixes, b.Suffix)
		}
	}
	return s.changeChapter(ctx, c, func(tx pgx.Tx) (bool, error) {
		n, err := s.exec(ctx, tx, "ReopenChapter", c.JobID, c.Ordinal, c.Attempts)
		if err != nil || n == 0 {
			return false, err
		}
		if _, err := s.exec(ctx, tx, "ReopenSegments", c.JobID, c.Job, c.Ordinal, keys, job.Engine.String(), details); err != nil {
			return false, err
		}
		_, err = s.exec(ctx, tx, "DropRenditions", damaged, suffixes)
		return true, err
	})
}

// RejoinChapter has a ready chapter joined again: its renditions were made anew
// for somebody else, and are not what its file holds.
func (s *Store) RejoinChapter(ctx context.Context, id job.ID, ordinal int) error {
	return s.tx(ctx, func(tx pgx.Tx) error {
		if final, err := s.lockJob(ctx, tx, id); err != nil || final {
			return err
		}
		n, err := s.exec(ctx, tx, "RejoinChapter", id, ordinal)
		if err != nil || n == 0 {
			return err
		}
		_, err = s.exec(ctx, tx, "DropOutbox", dueEnd, id, 0)
		return err
	})
}

// Version returns the version of a job, for hints to watchers.
func (s *Store) Version(ctx context.Context, id job.ID) (version int64, err error) {
	if err := s.pool.QueryRow(ctx, s.q.Get("JobVersion"), id).Scan(&version); err != nil {
		return 0, fmt.Errorf("read the version of %s: %w", id, pg.Classify(err))
	}
	return version, nil
}

// DropStale removes what is noted as due for a chapter, or with ordinal 0 for
// the job, if it is not due: it was done before, or is not wanted any more.
func (s *Store) DropStale(ctx context.Context, id job.ID, ordinal int) error {
	return s.tx(ctx, func(tx pgx.Tx) error {
		if _, err := s.lockJob(ctx, tx, id); err != nil {
			return err
		}
		if ordinal == 0 {
			_, err := s.exec(ctx, tx, "DropStaleFinish", id)
			return err
		}
		_, err := s.exec(ctx, tx, "DropStaleAssembly", id, ordinal)
		return err
	})
}
