package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/platform/pg"
)

// Job is what ending a job needs to know.
type Job struct {
	ID             job.ID
	Num            int64 // how the database names it
	State          job.State
	Final          bool
	Tenant         job.Tenant
	Class          job.Class
	Title          string
	Language       string
	Voice          string
	OnFailure      job.OnFailure
	SegmentsTotal  int
	SegmentsDone   int
	SegmentsReused int
	SegmentsFailed int
	ChaptersTotal  int
	ChaptersReady  int
	ChaptersFailed int
	PlanDigest     []byte
	Pauses         job.Pauses
	Loudness       string   // the level that was asked for; empty: none
	Subtitles      []string // formats
	ReadAlong      bool     // an EPUB that reads along is made
	Callback       *job.Callback
	Verify         job.Verify // what was to be heard; empty: nothing
	Source         Source
}

// Source is the document that a job was planned from; without a digest it is not known.
type Source struct {
	MediaType string
	SHA256    []byte
	Bytes     int64
}

// Job reads one job; NotFound if it is gone.
func (s *Store) Job(ctx context.Context, id job.ID) (Job, error) {
	j := Job{ID: id}
	var pauses, callback []byte
	err := s.pool.QueryRow(ctx, s.q.Get("Job"), id).Scan(&j.Num, &j.State, &j.Final, &j.Tenant, &j.Class, &j.Title, &j.Language,
		&j.OnFailure, &j.Voice, &j.SegmentsTotal, &j.SegmentsDone, &j.SegmentsReused, &j.SegmentsFailed,
		&j.ChaptersTotal, &j.ChaptersReady, &j.ChaptersFailed, &j.PlanDigest, &pauses, &callback, &j.Subtitles, &j.ReadAlong, &j.Loudness, &j.Verify,
		&j.Source.MediaType, &j.Source.SHA256, &j.Source.Bytes)
	if err != nil {
		return Job{}, fmt.Errorf("read job %s: %w", id, pg.Classify(err))
	}
	j.Pauses, j.Callback, err = decodeSpec(pauses, callback)
	return j, err
}

// FinalChapter is a chapter as the manifest tells of it.
type FinalChapter struct {
	Ordinal        int
	Title          string
	Matter         string
	State          job.ChapterState
	First          int // number of its first segment
	SegmentsTotal  int
	SegmentsFailed int
	SampleRate     int
	Samples        int64
	Artifact       string
	Bytes          int64
	SHA256         []byte
	Proof          []byte
	Loudness       *job.LoudnessReport // of its file
	ErrorKind      string
	ErrorDetail    string
}

// Chapters returns up to limit chapters of a job in order, those after ordinal after.
func (s *Store) Chapters(ctx context.Context, id job.ID, after, limit int) ([]FinalChapter, error) {
	return collect(ctx, s, "Chapters", func(row pgx.CollectableRow) (c FinalChapter, err error) {
		err = row.Scan(&c.Ordinal, &c.Title, &c.Matter, &c.State, &c.First, &c.SegmentsTotal, &c.SegmentsFailed, &c.SampleRate,
			&c.Samples, &c.Artifact, &c.Bytes, &c.SHA256, &c.Proof, &c.ErrorKind, &c.ErrorDetail, &c.Loudness)
		return c, err
	}, id, after, limit)
}

// FinalSegment is a segment as the manifest tells of it.
type FinalSegment struct {
	N              int
	State          job.SegmentState
	BreakAfter     string
	RenditionKey   string
	SampleRate     int
	Samples        int64
	Text           string
	Voice          string
	Language       string
	SourceDocument string
	SourceStart    int64
	SourceEnd      int64
	SHA256         []byte          // nil if the rendition is gone
	Marks          json.RawMessage // nil if the engine told no times, or the rendition is gone
	Sound          *Sound          // nil if it was never measured
	Verdict        string          // what the check of the audio had to remark
	Hearing        *job.Hearing    // nil if it was not heard
	ErrorKind      string
	ErrorDetail    string
}

// FinalSegments returns the segments from to to of a job, in reading order.
func (s *Store) FinalSegments(ctx context.Context, num int64, from, to int) ([]FinalSegment, error) {
	return collect(ctx, s, "ManifestSegments", func(row pgx.CollectableRow) (g FinalSegment, err error) {
		var marks []byte
		var h heard
		into := []any{
			&g.N, &g.State, &g.BreakAfter, &g.RenditionKey, &g.SampleRate, &g.Samples, &g.Text, &g.Voice,
			&g.Language, &g.SourceDocument, &g.SourceStart, &g.SourceEnd, &g.SHA256, &marks, &g.ErrorKind, &g.ErrorDetail,
		}
		err = row.Scan(append(append(into, h.targets()...), &g.Verdict, &g.Hearing)...)
		g.Marks, g.Sound = marks, h.sound()
		return g, err
	}, num, from, to)
}

// FilesBeside returns the files of a job that are there already and belong to no chapter
// that is ready, but its manifest, by name.
func (s *Store) FilesBeside(ctx context.Context, id job.ID) ([]Artifact, error) {
	return collect(ctx, s, "FilesBeside", func(row pgx.CollectableRow) (a Artifact, err error) {
		err = row.Scan(&a.Name, &a.MediaType, &a.Bytes, &a.SHA256, &a.Loudness)
		return a, err
	}, id)
}

// Failure is why one segment failed.
type Failure struct {
	N      int
	Kind   string
	Detail string
}

// FirstFailure returns the first failed segment of a job; ok is false if there is none.
func (s *Store) FirstFailure(ctx context.Context, num int64) (f Failure, ok bool, err error) {
	err = s.pool.QueryRow(ctx, s.q.Get("FirstFailure"), num).Scan(&f.N, &f.Kind, &f.Detail)
	if errors.Is(err, pgx.ErrNoRows) {
		return Failure{}, false, nil
	}
	if err != nil {
		return Failure{}, false, fmt.Errorf("read the first failure of job %d: %w", num, pg.Classify(err))
	}
	return f, true, nil
}

// End is how a job ends.
type End struct {
	State       job.State
	Proof       []byte       // digest over the chapters' proofs
	Quality     *job.Quality // nil if nothing was to be heard
	ErrorKind   string       // of a job that is partial or failed
	ErrorDetail string
	Files       []Artifact // the subtitles and the manifest; none if they could not be written
	Park        bool       // what is noted as due stays, parked with the reason
}

// FinishJob ends j: its state, its last files, its final event, and its outbox row
// goes, all at once; ok is false if j is no longer assembling, or the proof does
// not hold.
func (s *Store) FinishJob(ctx context.Context, j Job, e End) (ok bool, err error) {
	t, err := s.told(job.FinalEvent(e.State), j.Callback)
	if err != nil {
		return false, err
	}
	f, err := fileColumns(e.Files)
	if err != nil {
		return false, err
	}
	args := append([]any{j.ID, e.State, e.Proof, e.ErrorKind, e.ErrorDetail, e.Quality}, f...)
	args = append(args, t.id, t.event, t.url, e.Park)
	err = pg.Batch(ctx, s.pool, func(b *pgx.Batch) error {
		s.queueLock(b, j.ID)
		s.queueChange(b, &ok, "FinishJob", args...)
		return nil
	})
	if err != nil {
		return false, fmt.Errorf("end job %s: %w", j.ID, err)
	}
	return ok, nil
}

// fileColumns turns files into the arrays that FinishJob takes.
func fileColumns(files []Artifact) ([]any, error) {
	var names, types, keys []string
	var sizes []int64
	var sums [][]byte
	var seconds []*float64
	var levels []*string
	for i := range files {
		f := &files[i]
		var level *string
		if f.Loudness != nil {
			raw, err := json.Marshal(f.Loudness)
			if err != nil {
				return nil, &job.Error{Op: "store.fileColumns", Kind: job.Internal, Err: err}
			}
			level = textOrNil(raw)
		}
		names, types, keys = append(names, f.Name), append(types, f.MediaType), append(keys, f.ObjectKey)
		sizes, sums, seconds, levels = append(sizes, f.Bytes), append(sums, f.SHA256), append(seconds, f.AudioSeconds), append(levels, level)
	}
	return []any{names, types, keys, sizes, sums, seconds, levels}, nil
}
