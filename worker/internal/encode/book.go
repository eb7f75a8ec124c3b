package encode

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"

	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/worker/internal/store"
)

const (
	bookName = "book"
	page     = 250 // chapters read at once
)

// book binds the files of the whole job.
func (w *work) book(ctx context.Context) (ok bool, err error) {
	if w.Final || !w.Joined || w.Bound {
		return false, errStale
	}
	at, ok, err := w.deps.Store.EncodedAt(ctx, w.ID)
	if err != nil {
		return false, err
	}
	if !ok {
		return false, errStale
	}
	var files []store.Encoded
	for _, f := range wanted(w.Output) {
		if f.book == nil {
			continue
		}
		file, err := w.bind(ctx, &f)
		if err != nil {
			return false, err
		}
		files = append(files, file)
	}
	return w.deps.Store.BookBound(ctx, w.ID, at, files)
}

// bind makes one file of the files of all chapters.
func (w *work) bind(ctx context.Context, f *format) (file store.Encoded, err error) {
	name := bookName + "." + f.book.extension
	chapters, err := w.chapters(ctx, f.extension)
	if err != nil {
		return file, err
	}
	marks, total, seconds := marks(f.book.lead, chapters)
	said, err := w.say(metadata(append(book(w.Encoding), tag{"title", w.name()}), marks))
	if err != nil {
		return file, err
	}
	args := append(inputs(said, f.book.input...), "-map", "0:a", "-map_metadata", "1", "-map_chapters", "1", "-c", "copy")
	path := filepath.Join(w.dir, name)
	if err := w.copy(ctx, f, chapters, w.exact(append(args, f.book.output...), path)); err != nil {
		return file, w.fault(name, err)
	}
	a, err := w.deps.Program.Measure(ctx, path)
	if err != nil {
		return file, w.fault(name, err)
	}
	if got := a.Packets * f.packet; got != total || a.SampleRate != f.rate {
		return file, w.fault(name, fmt.Errorf("%d samples at %d Hz in its packets; want %d at %d", got, a.SampleRate, total, f.rate))
	}
	file.CodedSamples = total
	file.Artifact, err = w.put(ctx, path, name, f.book.media, seconds)
	return file, err
}

// name is what the book is called.
func (w *work) name() string { return book(w.Encoding)[0].value }

// marks places the chapters: each where its sound begins, the first from the beginning.
func marks(lead int64, chapters []store.EncodedChapter) (all []mark, total int64, seconds float64) {
	for i, c := range chapters {
		m := mark{title: title(c.Ordinal, c.Title)}
		if i > 0 {
			m.start = total + lead
			all[i-1].end = m.start
		}
		total += c.CodedSamples
		seconds += float64(c.Samples) / float64(c.SampleRate)
		m.end = total
		all = append(all, m)
	}
	return all, total, seconds
}

// chapters reads which files are bound.
func (w *work) chapters(ctx context.Context, extension string) (all []store.EncodedChapter, err error) {
	for after := 0; ; {
		list, err := w.deps.Store.EncodedChapters(ctx, w.ID, extension, after, page)
		if err != nil {
			return nil, err
		}
		all = append(all, list...)
		if len(list) < page {
			break
		}
		after = list[len(list)-1].Ordinal
	}
	if len(all) == 0 {
		return nil, &job.Error{Op: "encode.chapters", JobID: w.ID, Kind: job.Unavailable, Err: errors.New("the chapters' files are not there")}
	}
	return all, nil
}

// copy puts the packets of all chapters one behind the other into one ffmpeg.
func (w *work) copy(ctx context.Context, f *format, chapters []store.EncodedChapter, args []string) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	pr, pw := io.Pipe()
	done := make(chan error, 1)
	go func() { // ends with the last chapter or when pr is closed, and is waited for below
		var err error
		for _, c := range chapters {
			err = w.read(ctx, source{c.ObjectKey, c.Bytes, c.SHA256}, func(in io.Reader) error {
				return w.deps.Program.Run(ctx, in, pw, f.book.raw...)
			})
			if err != nil {
				break
			}
		}
		_ = pw.CloseWithError(err) // never fails
		done <- err
	}()
	err := w.deps.Program.Run(ctx, pr, nil, args...)
	cancel()
	_ = pr.CloseWithError(io.ErrClosedPipe) // never fails; a chapter that is still read ends with it
	if feeding := <-done; err == nil {
		err = feeding
	}
	return err
}
