package assemble

import (
	"bytes"
	"context"
	"fmt"
	"iter"
	"log/slog"

	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/platform/bus"
	"github.com/voicemill/voicemill/worker/internal/store"
	"github.com/voicemill/voicemill/worker/internal/timeline"
)

// chapter joins one chapter, unless that is not due any more.
func (a *Assembler) chapter(ctx context.Context, d store.Due) error {
	c, err := a.deps.Store.Chapter(ctx, d.JobID, d.Ordinal)
	if job.KindOf(err) == job.NotFound {
		return nil // the job was deleted
	}
	if err != nil {
		return err
	}
	if c.JobFinal || c.State != job.ChapterAssembling {
		return a.deps.Store.DropStale(ctx, d.JobID, d.Ordinal)
	}
	plan, err := a.survey(ctx, c)
	if err != nil {
		return err
	}
	if plan.fault != "" {
		return a.giveUp(ctx, c, job.Internal, plan.fault)
	}
	broken := plan.broken
	var joined store.Joined
	if len(broken) == 0 {
		if joined, broken, err = a.join(ctx, c, plan); err != nil {
			return err
		}
	}
	if len(broken) > 0 {
		return a.heal(ctx, c, broken)
	}
	counted, err := a.deps.Store.ReadyChapter(ctx, c, joined)
	if job.KindOf(err) == job.NotFound {
		a.discard(ctx, joined.File.ObjectKey)
		return nil // the job was deleted
	}
	if err != nil {
		return fmt.Errorf("record chapter %d: %w", d.Ordinal, err)
	}
	if !counted { // another worker was faster
		a.discard(ctx, joined.File.ObjectKey)
	}
	a.deps.Tell(bus.Settled{Job: c.Job, N: d.Ordinal, Attempt: max(d.Attempt, 1), Tenant: c.Tenant, Class: c.Class, Pool: bus.PoolAssemble, Actual: *joined.File.AudioSeconds})
	return nil
}

// plan is what the first reading of a chapter's rows found.
type plan struct {
	rate    int
	samples int64 // of the whole file
	levels  *levels
	proof   []byte
	broken  []store.Broken
	fault   string // for the owner: why the chapter cannot be joined at all
}

// survey lays out the chapter without opening any audio.
func (a *Assembler) survey(ctx context.Context, c store.Chapter) (plan, error) {
	p := plan{levels: levelsOf(c.Loudness)}
	var layout *timeline.Layout
	digest := job.NewOrderDigest()
	for g, err := range a.segments(ctx, c) {
		if err != nil {
			return p, err
		}
		if g.State == job.SegmentFailed {
			if layout != nil {
				layout.Pass(g.BreakAfter)
			}
			continue
		}
		if !g.Rendered {
			p.broken = append(p.broken, store.Broken{RenditionKey: g.RenditionKey, Detail: "The stored audio was gone and is made again."})
			continue
		}
		if layout == nil {
			p.rate = g.SampleRate
			layout = layoutOf(g.SampleRate, c.Pauses, c.Loudness)
		}
		if g.SampleRate != p.rate {
			p.fault = fmt.Sprintf("Segments at %d Hz and at %d Hz cannot be one chapter.", p.rate, g.SampleRate)
			return p, nil
		}
		_, kept := cut(c.Loudness, g.Sound, g.Samples, g.SampleRate)
		layout.Place(kept, g.BreakAfter)
		p.levels.add(g)
		digest.Add(g.RenditionKey)
	}
	if len(p.broken) > 0 {
		return p, nil
	}
	if layout == nil {
		p.fault = "No segment of this chapter has audio."
		return p, nil
	}
	_, p.samples = layout.End()
	p.levels.end(p.samples)
	p.proof = digest.Sum()
	if c.SegmentsFailed == 0 && !bytes.Equal(p.proof, c.PlanDigest) {
		p.fault = "The segments do not match the plan of this chapter."
	}
	return p, nil
}

// segments reads the rows of a chapter in order, a page at a time. A segment
// that is not final ends it with an error: the job was cancelled meanwhile.
func (a *Assembler) segments(ctx context.Context, c store.Chapter) iter.Seq2[store.Segment, error] {
	return func(yield func(store.Segment, error) bool) {
		for from, to := range pages(c.First, c.SegmentsTotal) {
			page, err := a.deps.Store.Segments(ctx, c, from, to)
			if err == nil && len(page) != to-from+1 {
				err = &job.Error{Op: "assemble.segments", JobID: c.JobID, Kind: job.Internal, Err: fmt.Errorf("%d of segments %d to %d", len(page), from, to)}
			}
			if err != nil {
				yield(store.Segment{}, err)
				return
			}
			for _, g := range page {
				switch g.State {
				case job.SegmentDone, job.SegmentReused, job.SegmentFailed:
				default:
					yield(g, &job.Error{Op: "assemble.segments", JobID: c.JobID, Kind: job.Unavailable, Err: fmt.Errorf("segment %d is %s", g.N, g.State)})
					return
				}
				if !yield(g, nil) {
					return
				}
			}
		}
	}
}

// pageBlocks is how many blocks of segments are read at once.
const pageBlocks = 2

// pages divides total segments from first on at the borders of blocks.
func pages(first, total int) iter.Seq2[int, int] {
	return func(yield func(from, to int) bool) {
		const page = pageBlocks * bus.BlockSegments
		for from := first; from < first+total; {
			to := min((from-1)/page*page+page, first+total-1)
			if !yield(from, to) {
				return
			}
			from = to + 1
		}
	}
}

// heal has broken renditions made again, unless that was tried often enough.
func (a *Assembler) heal(ctx context.Context, c store.Chapter, broken []store.Broken) error {
	a.deps.Log.WarnContext(ctx, "stored audio is missing or damaged", slog.String("job_id", string(c.JobID)),
		slog.Int("chapter", c.Ordinal), slog.Int("renditions", len(broken)), slog.Int("attempt", c.Attempts+1))
	if tries := c.Attempts - c.Spared + 1; tries >= a.cfg.Attempts {
		return a.giveUp(ctx, c, job.Engine, fmt.Sprintf("Stored audio was missing or damaged %d times.", tries))
	}
	if _, err := a.deps.Store.ReopenChapter(ctx, c, broken); err != nil {
		return fmt.Errorf("reopen chapter %d: %w", c.Ordinal, err)
	}
	return nil
}

func (a *Assembler) giveUp(ctx context.Context, c store.Chapter, kind job.Kind, detail string) error {
	a.deps.Log.ErrorContext(ctx, "a chapter cannot be joined", slog.String("job_id", string(c.JobID)), slog.Int("chapter", c.Ordinal), slog.String("detail", detail))
	if _, err := a.deps.Store.FailChapter(ctx, c, kind, detail); err != nil {
		return fmt.Errorf("give up chapter %d: %w", c.Ordinal, err)
	}
	return nil
}
