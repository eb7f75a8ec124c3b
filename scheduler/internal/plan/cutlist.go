package plan

import (
	"context"
	"fmt"
	"iter"

	"github.com/voicemill/voicemill/scheduler/internal/manuscript"
	"github.com/voicemill/voicemill/scheduler/internal/store"
)

// segments returns the plan of a job whose client cut the text itself: one
// chapter. A segment that is longer than an engine can speak in one go is cut
// further; it is never joined with another.
func (d *draft) segments(ctx context.Context, p store.Plan, casting *Casting, opts manuscript.Options) (store.Plan, error) {
	p.Language = opts.Language
	if p.Language == "" {
		p.Language = "en"
	}
	var err error
	if d.cast, err = casting.forJob(d.claim.Spec.Voice, p.Language); err != nil {
		return p, err
	}
	var all []passage
	for i, in := range d.claim.Spec.Input.Segments {
		cut, err := cutOne(ctx, in.Text, opts)
		if err != nil {
			return p, fmt.Errorf("segment %d of the request: %w", i, err)
		}
		for k := range cut {
			cut[k].Source.Document = fmt.Sprintf("/input/segments/%d", i)
			all = append(all, passage{Segment: &cut[k], voice: in.Voice, instructions: in.Instructions})
		}
	}
	all[len(all)-1].Break = manuscript.BreakChapter
	p.Chapters = d.oneChapter(all)
	return p, nil
}

func (d *draft) oneChapter(all []passage) iter.Seq2[*store.Chapter, error] {
	return func(yield func(*store.Chapter, error) bool) {
		ch, err := d.part("", manuscript.Body.String(), false, len(all), func(i int) passage { return all[i] })
		yield(ch, err)
	}
}

// cutOne reads one text of the client as a manuscript of its own.
func cutOne(ctx context.Context, text string, opts manuscript.Options) ([]manuscript.Segment, error) {
	doc, err := manuscript.FromText(ctx, text, opts)
	if err != nil {
		return nil, err
	}
	var out []manuscript.Segment
	for ch, err := range doc.Chapters() {
		if err != nil {
			return nil, err
		}
		out = append(out, ch.Segments...)
	}
	// What the client cut is a sentence or more, whatever it looks like.
	last := &out[len(out)-1]
	last.Break = manuscript.BreakSentence
	return out, nil
}
