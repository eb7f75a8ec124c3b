package encode

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/platform/blob"
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
	if w.cover, err = w.fetch(ctx); err != nil {
		return false, err
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
	b, err := f.book.lay(ctx, w, chapters, marks)
	if err != nil {
		return file, w.fault(name, err)
	}
	if b.samples != total {
		return file, w.fault(name, fmt.Errorf("%d samples in the packets of its chapters; want %d", b.samples, total))
	}
	file.CodedSamples = total
	file.Artifact, err = w.send(ctx, b, chapters, artifact{name, f.book.media, seconds})
	if err != nil {
		err = w.fault(name, err)
	}
	return file, err
}

// bound is a book that is laid out: all is known but the packets themselves.
type bound struct {
	samples int64 // in its packets
	size    int64 // bytes of the whole file
	head    func(io.Writer) error
	parts   []func(out io.Writer, in io.Reader) error // one a chapter: copies of its file what goes into the book
}

// part is what of a chapter's file goes into the book.
type part struct {
	at, bytes int64
	frames    int64 // of MPEG audio, which are counted; 0: their tables were
}

// send writes the book from its beginning to its end into the bucket. It is held
// nowhere: the chapters are read while it is stored.
func (w *work) send(ctx context.Context, b *bound, chapters []store.EncodedChapter, as artifact) (a store.Artifact, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	pr, pw := io.Pipe()
	done := make(chan error, 1)
	go func() { // ends with the last chapter or when pr is closed, and is waited for below
		err := b.head(pw)
		for i := 0; i < len(chapters) && err == nil; i++ {
			c := chapters[i]
			err = w.read(ctx, source{c.ObjectKey, c.Bytes, c.SHA256}, func(in io.Reader) error { return b.parts[i](pw, in) })
		}
		done <- err                // before the store can hear of it
		_ = pw.CloseWithError(err) // never fails
	}()
	a, err = w.store(ctx, pr, b.size, as, blob.PutOptions{Once: b.size <= onceBytes})
	select {
	case feeding := <-done:
		if feeding != nil {
			err = feeding // why the store got too little
		}
	default: // the store failed by itself: what the feeding says now comes of being ended
		cancel()
		_ = pr.CloseWithError(io.ErrClosedPipe) // never fails; a chapter that is still read ends with it
		<-done                                  //nolint:errcheck // it comes of that
	}
	return a, err
}

// copy copies the part of a chapter's file that in reads from its beginning.
func (p part) copy(out io.Writer, in io.Reader) error {
	if _, err := io.CopyN(io.Discard, in, p.at); err != nil {
		return err
	}
	counted := frames{w: out}
	if p.frames > 0 {
		out = &counted
	}
	buf := make([]byte, copyBytes)
	if n, err := io.CopyBuffer(struct{ io.Writer }{out}, io.LimitReader(in, p.bytes), buf); err != nil || n != p.bytes {
		return errors.Join(err, fmt.Errorf("%d bytes of packets; want %d", n, p.bytes))
	}
	if p.frames > 0 && (counted.n != p.frames || counted.left != 0) {
		return fmt.Errorf("%d whole frames; want %d", counted.n, p.frames)
	}
	return nil
}

const (
	copyBytes = 256 << 10
	// A book of up to so many bytes, 36 hours of M4B, is sent in one request, which the bucket need not put
	// together of parts, and bound anew if that fails.
	onceBytes = 1 << 30
)

// name is what the book is called.
func (w *work) name() string { return w.Metadata.Title }

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
