package assemble

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"slices"

	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/platform/blob"
	"github.com/voicemill/voicemill/worker/internal/readalong"
	"github.com/voicemill/voicemill/worker/internal/store"
	"github.com/voicemill/voicemill/worker/internal/timeline"
)

// ReadAlongName is the artifact of the book that reads along.
const ReadAlongName = "book.epub"

// What a book that reads along was made of.
const (
	ofDocument = "document"
	ofText     = "text"
)

// along makes the book that reads along.
type along struct {
	*Assembler
	store.Job
	enc       store.Encoding
	extension string // of the chapters' files
	media     string
	told      ManifestReadAlong
}

// readAlong stores the book that reads along; told is nil if no chapter can be
// heard in it.
func (a *Assembler) readAlong(ctx context.Context, j store.Job) (f store.Artifact, told *ManifestReadAlong, err error) {
	if j.ChaptersReady == 0 {
		return f, nil, nil
	}
	b := &along{Assembler: a, Job: j, extension: "mp3", media: "audio/mpeg", told: ManifestReadAlong{File: ReadAlongName}}
	if b.enc, err = a.deps.Store.Encoding(ctx, j.ID); err != nil {
		return f, nil, err
	}
	if slices.Contains(b.enc.Output.Formats, job.FormatM4B) {
		b.extension, b.media = "m4a", "audio/mp4"
	}
	if files, err := a.deps.Store.EncodedChapters(ctx, j.ID, b.extension, 0, 1); err != nil || len(files) == 0 {
		return f, nil, err // an encoding was given up, and the job says so
	}
	f, err = a.store(ctx, j, ReadAlongName, job.MediaEPUB, b.write)
	return f, &b.told, err
}

// write streams the book.
func (b *along) write(ctx context.Context, w io.Writer) error {
	book, err := b.open(ctx, w)
	if err != nil {
		return err
	}
	for c, err := range b.chapters(ctx, b.ID) {
		if err != nil {
			return err
		}
		if err := b.chapter(ctx, book, c); err != nil {
			return err
		}
	}
	for after := 0; ; {
		page, err := b.deps.Store.EncodedChapters(ctx, b.ID, b.extension, after, b.cfg.Page)
		if err != nil {
			return err
		}
		for _, c := range page {
			if err := b.audio(ctx, book, c); err != nil {
				return err
			}
			after = c.Ordinal
		}
		if len(page) < b.cfg.Page {
			break
		}
	}
	if err := book.Close(); err != nil {
		return err
	}
	b.told.Counts = book.Counts()
	return nil
}

// open begins the EPUB that was handed in, or one made of the text.
func (b *along) open(ctx context.Context, w io.Writer) (readalong.Book, error) {
	m, err := b.deps.Store.Manuscript(ctx, b.ID)
	if err != nil {
		return nil, err
	}
	b.told.Of, b.told.Reason = ofDocument, ""
	if m.Media == job.MediaEPUB && m.ObjectKey != "" {
		source, size, err := b.deps.Docs.ReaderAt(ctx, m.ObjectKey, m.ETag)
		if err == nil {
			var book readalong.Book
			if book, err = readalong.Annotate(w, b.meta(), source, size); err == nil {
				return book, nil
			}
		}
		switch kind := job.KindOf(err); {
		case errors.Is(err, readalong.ErrUnfit):
			b.told.Reason = err.Error()
		case kind == job.NotFound || kind == job.Conflict:
			b.told.Reason = "The document is not there any more."
		default:
			return nil, err
		}
	}
	b.told.Of = ofText
	return readalong.Compose(w, b.meta())
}

// meta is what the book says of itself. A book of the same plan has the same name.
func (b *along) meta() readalong.Meta {
	m := b.enc.Metadata
	sum := sha256.Sum256(slices.Concat([]byte("voicemill read-along 1"), b.PlanDigest))
	id := sum[:16]
	id[6], id[8] = id[6]&0x0f|0x80, id[8]&0x3f|0x80 // a UUID of version 8
	name := hex.EncodeToString(id)
	return readalong.Meta{
		Title: m.Title, Author: m.Author, Narrator: cmp.Or(m.Narrator, "A synthetic voice"),
		Language: b.Language, Year: m.Year, Synthetic: "Spoken by a synthetic voice, made with voicemill.",
		Identifier: fmt.Sprintf("urn:uuid:%s-%s-%s-%s-%s", name[:8], name[8:12], name[12:16], name[16:20], name[20:]),
	}
}

// chapter adds the text of a chapter.
func (b *along) chapter(ctx context.Context, book readalong.Book, c store.FinalChapter) error {
	out := readalong.Chapter{Title: c.Title}
	if c.State == job.ChapterReady {
		out.Audio, out.Media, out.Millis = b.name(c.Ordinal), b.media, millis(c.Samples, c.SampleRate)
	}
	if err := book.Begin(out); err != nil {
		return err
	}
	for p, err := range b.placed(ctx, b.Job, c) {
		if err != nil {
			return err
		}
		if err := book.Add(p.along(c.SampleRate)); err != nil {
			return err
		}
	}
	return nil
}

func (b *along) name(ordinal int) string { return fmt.Sprintf("chapter-%03d.%s", ordinal, b.extension) }

func millis(samples int64, rate int) int64 {
	return timeline.Time(samples, rate).Round(1e6).Milliseconds()
}

// along is a segment as the book has it.
func (p *placed) along(rate int) readalong.Segment {
	s := readalong.Segment{
		Document: p.SourceDocument, Start: int(p.SourceStart), End: int(p.SourceEnd), Text: p.Text, Language: p.Language,
		Paragraph: p.BreakAfter == "paragraph" || p.BreakAfter == "chapter",
	}
	if !p.sounds {
		return s
	}
	at := 0
	for _, w := range timeline.Words(p.Text, p.marks, p.start, p.Samples) {
		one := readalong.Stretch{At: at, Millis: millis(w.Sample, rate)}
		if w.Sentence || at == 0 {
			s.Sentences = append(s.Sentences, one)
		}
		s.Words = append(s.Words, one)
		at += len(w.Text)
	}
	if s.Sentences == nil { // nothing but signs
		s.Sentences = []readalong.Stretch{{At: 0, Millis: millis(p.start, rate)}}
	}
	return s
}

// audio adds the file of a chapter. It is read twice: a ZIP says the checksum first, and a
// file behind which it stands is one that not every reader can play.
func (b *along) audio(ctx context.Context, book readalong.Book, c store.EncodedChapter) error {
	crc, sum := crc32.NewIEEE(), sha256.New()
	if err := b.read(ctx, c.ObjectKey, io.MultiWriter(crc, sum)); err != nil {
		return err
	}
	if !bytes.Equal(sum.Sum(nil), c.SHA256) {
		return &job.Error{Op: "assemble.audio", JobID: b.ID, Kind: job.Internal, Public: "A stored file is damaged.", Err: fmt.Errorf("%s is not what was stored", c.ObjectKey)}
	}
	body, _, err := b.deps.Blob.Get(ctx, c.ObjectKey, blob.GetOptions{})
	if err != nil {
		return gone(b.ID, err)
	}
	defer closeBody(body)
	return book.Audio(readalong.Chapter{Title: c.Title, Audio: b.name(c.Ordinal), Media: b.media}, c.Bytes, crc.Sum32(), body)
}

func (b *along) read(ctx context.Context, key string, to io.Writer) error {
	body, _, err := b.deps.Blob.Get(ctx, key, blob.GetOptions{})
	if err != nil {
		return gone(b.ID, err)
	}
	defer closeBody(body)
	_, err = io.Copy(to, body)
	return err
}

// gone says that a file is away for good, which another try does not mend by itself.
func gone(id job.ID, err error) error {
	if job.KindOf(err) == job.NotFound {
		return &job.Error{Op: "assemble.readAlong", JobID: id, Kind: job.Internal, Public: "A stored file is gone.", Err: err}
	}
	return err
}
