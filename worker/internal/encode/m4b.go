package encode

import (
	"context"
	"fmt"
	"io"
	"os"

	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/platform/blob"
	"github.com/voicemill/voicemill/worker/internal/m4b"
	"github.com/voicemill/voicemill/worker/internal/store"
)

// layM4B lays out a book of the tables of its chapters' files.
func layM4B(ctx context.Context, w *work, chapters []store.EncodedChapter, marks []mark) (*bound, error) {
	out := m4b.Book{Language: language(w.Language), CoverType: w.cover.media}
	for _, t := range append(book(w.Encoding), tag{"title", w.name()}) {
		out.Tags = append(out.Tags, m4b.Tag{Name: t.name, Value: plain(t.value)})
	}
	if w.cover.path != "" {
		raw, err := os.ReadFile(w.cover.path)
		if err != nil {
			return nil, &job.Error{Op: "encode.layM4B", JobID: w.ID, Kind: job.Unavailable, Err: err}
		}
		out.Cover = raw
	}
	b := &bound{}
	for i, c := range chapters {
		head, err := w.head(ctx, c, int64(len(out.Cover)))
		if err != nil {
			return nil, err
		}
		out.Chapters = append(out.Chapters, m4b.Chapter{Title: marks[i].title, Head: head})
		b.parts = append(b.parts, part{at: head.At, bytes: head.Bytes}.copy)
	}
	f, err := m4b.New(out)
	if err != nil {
		return nil, err
	}
	b.samples, b.size, b.head = f.Samples, f.Size, f.WriteHead
	return b, nil
}

// head reads the tables of a chapter's M4A, which is asked for as far as they go.
func (w *work) head(ctx context.Context, c store.EncodedChapter, cover int64) (*m4b.Head, error) {
	const besides = 64 << 10 // what else is said
	length := min(c.Bytes, 4*c.CodedSamples/m4b.Packet+cover+besides)
	body, _, err := w.deps.Blob.Get(ctx, c.ObjectKey, blob.GetOptions{Length: length})
	if err != nil {
		return nil, w.gone(err)
	}
	defer body.Close() //nolint:errcheck // only read
	head, err := m4b.ReadHead(body)
	if err != nil {
		return nil, fmt.Errorf("chapter %d: %w", c.Ordinal, err)
	}
	if got := int64(len(head.Sizes)) * m4b.Packet; got != c.CodedSamples {
		return nil, fmt.Errorf("chapter %d: %d samples in its packets; want %d", c.Ordinal, got, c.CodedSamples)
	}
	_, err = io.Copy(io.Discard, body) // so that the connection is used again
	return head, err
}
