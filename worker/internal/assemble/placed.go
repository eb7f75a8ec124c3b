package assemble

import (
	"context"
	"fmt"
	"iter"

	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/worker/internal/store"
	"github.com/voicemill/voicemill/worker/internal/timeline"
)

// placed is a segment with its place in its chapter's file.
type placed struct {
	store.FinalSegment

	sounds bool // whether it has audio in a file; what follows is of that
	start  int64
	marks  timeline.Marks
}

// placed reads the segments of a chapter in order, a page at a time, and places
// them. A [staleError] says that the file of the chapter is of other audio.
func (a *Assembler) placed(ctx context.Context, j store.Job, c store.FinalChapter) iter.Seq2[placed, error] {
	return func(yield func(placed, error) bool) {
		ready, layout := c.State == job.ChapterReady, layoutOf(c.SampleRate, j.Pauses, j.Loudness)
		for from, to := range pages(c.First, c.SegmentsTotal) {
			page, err := a.deps.Store.FinalSegments(ctx, j.Num, from, to)
			if err != nil {
				yield(placed{}, err)
				return
			}
			for _, g := range page {
				p := placed{FinalSegment: g}
				if ready {
					err = p.place(layout, c.Ordinal, j.Loudness)
				}
				if !yield(p, err) || err != nil {
					return
				}
			}
		}
		if _, total := layout.End(); ready && total != c.Samples {
			yield(placed{}, &staleError{c.Ordinal})
		}
	}
}

// place adds a segment to the layout of its chapter, which is ready. Samples becomes
// what of it is in the file.
func (p *placed) place(layout *timeline.Layout, ordinal int, loudness string) (err error) {
	switch {
	case p.State == job.SegmentFailed:
		layout.Pass(p.BreakAfter)
		return nil
	case p.SHA256 == nil:
		return &staleError{ordinal}
	}
	p.sounds = true
	skip, kept := cut(loudness, p.Sound, p.Samples, p.SampleRate)
	whole := kept == p.Samples
	p.Samples = kept
	_, p.start = layout.Place(kept, p.BreakAfter)
	if p.marks, err = timeline.ReadMarks(p.Marks, p.start-skip); err != nil {
		return &job.Error{Op: "assemble.place", Kind: job.Internal, Err: fmt.Errorf("segment %d: %w", p.N, err)}
	}
	if !whole {
		p.marks.Hold(p.start, p.start+kept)
	}
	return nil
}

// staleError says that a chapter's file is not what its renditions are now: one
// was made anew for another job.
type staleError struct{ ordinal int }

func (e *staleError) Error() string {
	return fmt.Sprintf("chapter %d was joined from other audio than is stored now", e.ordinal)
}
