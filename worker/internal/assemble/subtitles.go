package assemble

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/worker/internal/store"
	"github.com/voicemill/voicemill/worker/internal/subtitle"
	"github.com/voicemill/voicemill/worker/internal/timeline"
)

// subtitles stores the subtitles of j in one format, of each chapter that is
// ready and of the book, in which the chapters' files are played one after the
// other. What was stored is returned with an error, too.
func (a *Assembler) subtitles(ctx context.Context, j store.Job, format string) (files []store.Artifact, err error) {
	for c, err := range a.chapters(ctx, j.ID) {
		if err != nil {
			return files, err
		}
		if c.State != job.ChapterReady {
			continue
		}
		f, err := a.store(ctx, j, fmt.Sprintf("chapter-%03d.%s", c.Ordinal, format), subtitle.MediaType(format), func(ctx context.Context, w io.Writer) error {
			return writeSubtitles(w, format, c.Title, func(cut *subtitle.Cutter) error { return a.cutChapter(ctx, cut, j, c, 0) })
		})
		if err != nil {
			return files, err
		}
		files = append(files, f)
	}
	f, err := a.store(ctx, j, "book."+format, subtitle.MediaType(format), func(ctx context.Context, w io.Writer) error {
		return writeSubtitles(w, format, j.Title, func(cut *subtitle.Cutter) error { return a.cutBook(ctx, cut, j) })
	})
	if err != nil {
		return files, err
	}
	return append(files, f), nil
}

func writeSubtitles(w io.Writer, format, title string, all func(*subtitle.Cutter) error) error {
	out := subtitle.NewWriter(w, format, title)
	if err := all(subtitle.NewCutter(out.Cue)); err != nil {
		return err
	}
	return out.Close()
}

func (a *Assembler) cutBook(ctx context.Context, cut *subtitle.Cutter, j store.Job) error {
	seconds := 0.0 // as the manifest counts
	for c, err := range a.chapters(ctx, j.ID) {
		if err != nil {
			return err
		}
		if c.State != job.ChapterReady {
			continue
		}
		if err := a.cutChapter(ctx, cut, j, c, time.Duration(seconds*float64(time.Second))); err != nil {
			return err
		}
		seconds += float64(c.Samples) / float64(c.SampleRate)
	}
	return nil
}

// cutChapter cuts the cues of a chapter whose file begins at offset.
func (a *Assembler) cutChapter(ctx context.Context, cut *subtitle.Cutter, j store.Job, c store.FinalChapter, offset time.Duration) error {
	for p, err := range a.placed(ctx, j, c) {
		if err != nil {
			return err
		}
		if !p.sounds {
			continue
		}
		err := cut.Add(subtitle.Segment{Words: timeline.Words(p.Text, p.marks, p.start, p.Samples), End: p.start + p.Samples, Rate: c.SampleRate, Offset: offset})
		if err != nil {
			return err
		}
	}
	return cut.Close(offset + timeline.Time(c.Samples, c.SampleRate))
}
