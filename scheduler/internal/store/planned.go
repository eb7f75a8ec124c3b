package store

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"iter"

	"github.com/jackc/pgx/v5"

	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/platform/pg"
)

// copyRows bounds how many segments are held between the document and the
// database: one COPY.
const copyRows = 2048

// Plan is a job whose chapters are known, or are read while they are stored.
type Plan struct {
	ID              job.ID
	Tenant          job.Tenant
	Title, Language string
	Callback        *job.Callback
	// Chapters yields the chapters in order. It is read once. An error ends the
	// whole commit and is returned as it is.
	Chapters iter.Seq2[*Chapter, error]
}

// Chapter is one planned chapter; Digest is the order digest of its keys.
type Chapter struct {
	Ordinal       int
	Title, Matter string
	FirstSegment  int
	Digest        []byte
	Segments      []PlannedSegment
}

// PlannedSegment is one segment as it will be spoken.
type PlannedSegment struct {
	N                               int
	Text, Voice, Language, Pool     string
	Pronunciations                  json.RawMessage // nil for none
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
}

// CommitPlans stores plans in one transaction: chapters, segments, totals and
// the step from planning to queued, or further if everything could be reused.
// A job that left planning meanwhile is left out of the result, and nothing of
// it is stored. Memory does not grow with the length of a plan.
func (s *Store) CommitPlans(ctx context.Context, plans []Plan) ([]Planned, error) {
	var done []Planned
	// Not pg.Tx: Chapters can be read once only, so nothing can be tried again here.
	err := pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, s.q.Get("StageTable")); err != nil {
			return fmt.Errorf("prepare the staging table: %w", err)
		}
		w := &planWriter{s: s, tx: tx, totals: map[job.ID]*totals{}}
		for i := range plans {
			if err := w.stage(ctx, &plans[i]); err != nil {
				return err
			}
		}
		if err := w.flush(ctx); err != nil {
			return err
		}
		var err error
		done, err = w.commit(ctx, plans)
		return err
	})
	return done, pg.Classify(err)
}

// planWriter is one transaction of CommitPlans.
type planWriter struct {
	s        *Store
	tx       pgx.Tx
	buffer   []PlannedSegment
	owners   []job.ID // of buffer
	totals   map[job.ID]*totals
	chapters chapterColumns
}

type totals struct {
	chapters, segments int
	characters         int64
	seconds            float64
	digest             job.OrderDigest
	reused             int
	reusedPredicted    float64
	reusedAudio        float64
}

type chapterColumns struct {
	jobs, titles, matters  []string
	ordinals, first, total []int32
	digests                [][]byte
}

func (w *planWriter) stage(ctx context.Context, p *Plan) error {
	t := &totals{digest: job.NewOrderDigest()}
	w.totals[p.ID] = t
	for ch, err := range p.Chapters {
		if err != nil {
			return err
		}
		t.chapters++
		t.segments += len(ch.Segments)
		t.digest.Add(hex.EncodeToString(ch.Digest))
		w.chapters.add(p.ID, ch)
		for i := range ch.Segments {
			t.characters += int64(ch.Segments[i].Characters)
			t.seconds += ch.Segments[i].Seconds
			w.buffer, w.owners = append(w.buffer, ch.Segments[i]), append(w.owners, p.ID)
			if len(w.buffer) >= copyRows {
				if err := w.flush(ctx); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

func (c *chapterColumns) add(id job.ID, ch *Chapter) {
	c.jobs, c.titles, c.matters = append(c.jobs, string(id)), append(c.titles, ch.Title), append(c.matters, ch.Matter)
	c.ordinals = append(c.ordinals, int32(ch.Ordinal)) //nolint:gosec // bounded by job.Limits
	c.first = append(c.first, int32(ch.FirstSegment))  //nolint:gosec // bounded by job.Limits
	c.total = append(c.total, int32(len(ch.Segments))) //nolint:gosec // bounded by job.Limits
	c.digests = append(c.digests, ch.Digest)
}

func stageColumns() []string {
	return []string{
		"job_id", "n", "chapter", "text", "voice", "language", "pool", "pronunciations", "source_document", "source_start",
		"source_end", "break_after", "predicted_seconds", "rendition_key", "sample_rate",
	}
}

func (w *planWriter) flush(ctx context.Context) error {
	if len(w.buffer) == 0 {
		return nil
	}
	_, err := w.tx.CopyFrom(ctx, pgx.Identifier{"plan_segments"}, stageColumns(), pgx.CopyFromSlice(len(w.buffer), func(i int) ([]any, error) {
		g := &w.buffer[i]
		var pronunciations any
		if len(g.Pronunciations) > 0 {
			pronunciations = g.Pronunciations
		}
		return []any{
			string(w.owners[i]), g.N, g.Chapter, g.Text, g.Voice, g.Language, g.Pool, pronunciations, g.SourceDocument, g.SourceStart,
			g.SourceEnd, g.Break, g.Seconds, g.RenditionKey, g.SampleRate,
		}, nil
	}))
	w.buffer, w.owners = w.buffer[:0], w.owners[:0]
	if err != nil {
		return fmt.Errorf("stage segments: %w", err)
	}
	return nil
}

// commit locks the jobs and moves what was staged into place.
func (w *planWriter) commit(ctx context.Context, plans []Plan) ([]Planned, error) {
	all := make([]string, 0, len(plans))
	for i := range plans {
		all = append(all, string(plans[i].ID))
	}
	rows, err := w.tx.Query(ctx, w.s.q.Get("LockPlans"), all)
	if err != nil {
		return nil, err
	}
	ids, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil || len(ids) == 0 {
		return nil, err
	}
	mine := make(map[job.ID]bool, len(ids))
	for _, id := range ids {
		mine[job.ID(id)] = true
	}
	c := w.chapters.only(mine)
	if _, err := w.tx.Exec(ctx, w.s.q.Get("InsertChapters"), c.jobs, c.ordinals, c.titles, c.matters, c.first, c.total, c.digests); err != nil {
		return nil, fmt.Errorf("insert chapters: %w", err)
	}
	if _, err := w.tx.Exec(ctx, w.s.q.Get("InsertSegments"), ids); err != nil {
		return nil, fmt.Errorf("insert segments: %w", err)
	}
	if err := w.countReused(ctx, ids); err != nil {
		return nil, fmt.Errorf("count what is reused: %w", err)
	}
	if err := w.queue(ctx, plans, mine); err != nil {
		return nil, fmt.Errorf("queue jobs: %w", err)
	}
	if _, err := w.tx.Exec(ctx, w.s.q.Get("AdvanceJobs"), ids); err != nil {
		return nil, fmt.Errorf("advance jobs: %w", err)
	}
	versions, err := collectVersions(w.tx.Query(ctx, w.s.q.Get("JobVersions"), ids))
	if err != nil {
		return nil, err
	}
	done := make([]Planned, 0, len(versions))
	for _, v := range versions {
		t := w.totals[v.ID]
		done = append(done, Planned{Version: v, Segments: t.segments, Reused: t.reused, Chapters: t.chapters, Seconds: t.seconds})
	}
	return done, nil
}

func (c *chapterColumns) only(mine map[job.ID]bool) chapterColumns {
	var out chapterColumns
	for i, id := range c.jobs {
		if mine[job.ID(id)] {
			out.jobs, out.titles, out.matters = append(out.jobs, id), append(out.titles, c.titles[i]), append(out.matters, c.matters[i])
			out.ordinals, out.first = append(out.ordinals, c.ordinals[i]), append(out.first, c.first[i])
			out.total, out.digests = append(out.total, c.total[i]), append(out.digests, c.digests[i])
		}
	}
	return out
}

func (w *planWriter) countReused(ctx context.Context, ids []string) error {
	rows, err := w.tx.Query(ctx, w.s.q.Get("CountReused"), ids)
	if err != nil {
		return err
	}
	var id job.ID
	var segments int
	var predicted, audio float64
	_, err = pgx.ForEachRow(rows, []any{&id, &segments, &predicted, &audio}, func() error {
		t := w.totals[id]
		t.reused, t.reusedPredicted, t.reusedAudio = segments, predicted, audio
		return nil
	})
	return err
}

// queue moves the jobs from planning to queued. A job that is all reused will
// never be released, so its callback for the start is stored here.
func (w *planWriter) queue(ctx context.Context, plans []Plan, mine map[job.ID]bool) error {
	var ids, titles, languages []string
	var segments, chapters, reused []int32
	var characters []int64
	var predicted, done, audio []float64
	var digests [][]byte
	var notices []Notice
	for i := range plans {
		p, t := &plans[i], w.totals[plans[i].ID]
		if !mine[p.ID] {
			continue
		}
		ids, titles, languages = append(ids, string(p.ID)), append(titles, p.Title), append(languages, p.Language)
		segments, chapters = append(segments, int32(t.segments)), append(chapters, int32(t.chapters)) //nolint:gosec // bounded by job.Limits
		characters, predicted = append(characters, t.characters), append(predicted, t.seconds)
		digests, reused = append(digests, t.digest.Sum()), append(reused, int32(t.reused)) //nolint:gosec // bounded by job.Limits
		done, audio = append(done, t.reusedPredicted), append(audio, t.reusedAudio)
		if n, wanted := notice(p.ID, p.Tenant, p.Callback, job.EventStarted); wanted && t.reused == t.segments {
			notices = append(notices, n)
		}
	}
	_, err := w.tx.Exec(ctx, w.s.q.Get("QueueJobs"), ids, titles, languages, segments, chapters, characters, predicted, digests, reused, done, audio)
	if err != nil {
		return err
	}
	return w.s.sendNotices(ctx, w.tx, notices)
}
