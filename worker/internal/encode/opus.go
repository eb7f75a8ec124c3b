package encode

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/voicemill/voicemill/platform/blob"
	"github.com/voicemill/voicemill/worker/internal/ogg"
	"github.com/voicemill/voicemill/worker/internal/store"
	"github.com/voicemill/voicemill/worker/internal/subtitle"
)

const (
	opusRate   = 48_000
	opusPacket = 960
)

// layOpus lays out a book: its words, and behind them the pages of its chapters' files
// with new numbers.
func layOpus(ctx context.Context, w *work, chapters []store.EncodedChapter, marks []mark) (*bound, error) {
	words, said, err := w.words(marks)
	if err != nil {
		return nil, err
	}
	b := &bound{}
	var out *ogg.Book
	var opus []byte
	for i, c := range chapters {
		head, err := w.opusHead(ctx, c, said)
		if err != nil {
			return nil, fmt.Errorf("chapter %d: %w", c.Ordinal, err)
		}
		if opus == nil {
			opus = head.Opus
		} else if !bytes.Equal(opus, head.Opus) {
			return nil, fmt.Errorf("chapter %d: %w", c.Ordinal, errors.New("its sound is not like that of the others"))
		}
		size, end := c.Bytes-head.Bytes, i == len(chapters)-1
		b.samples += c.CodedSamples
		b.size += size
		b.parts = append(b.parts, func(_ io.Writer, in io.Reader) error {
			if _, err := io.CopyN(io.Discard, in, head.Bytes); err != nil {
				return err
			}
			return out.Add(in, size, c.CodedSamples, end)
		})
	}
	head, pages := ogg.HeadOf(opus, words)
	b.size += int64(len(head))
	b.head = func(to io.Writer) error {
		out = ogg.NewBook(to, pages)
		_, err := to.Write(head)
		return err
	}
	return b, nil
}

// words is what a book says of itself: said bytes of what each of its chapters says, too,
// the cover among it, and the chapters.
func (w *work) words(marks []mark) (words []ogg.Comment, said int, err error) {
	picture, err := w.cover.tag()
	if err != nil {
		return nil, 0, err
	}
	for _, t := range append(oneText(append(book(w.Encoding), tag{"title", w.name()})), picture...) {
		if t.value != "" {
			words = append(words, ogg.Comment{Name: vorbis(t.name), Value: plain(t.value)})
			said += len(t.value)
		}
	}
	for i, m := range marks {
		at := time.Duration(m.start/opusRate)*time.Second + time.Duration(m.start%opusRate)*time.Second/opusRate
		name := fmt.Sprintf("CHAPTER%03d", i+1)
		words = append(words, ogg.Comment{Name: name, Value: subtitle.Clock(at, '.')}, ogg.Comment{Name: name + "NAME", Value: plain(m.title)})
	}
	return words, said, nil
}

// opusHead reads what a chapter's file has before its sound, said bytes of what the book
// says among it.
func (w *work) opusHead(ctx context.Context, c store.EncodedChapter, said int) (h ogg.Head, err error) {
	const besides = 64 << 10 // its own title, and the heads of pages
	body, _, err := w.deps.Blob.Get(ctx, c.ObjectKey, blob.GetOptions{Length: min(c.Bytes, int64(said+besides))})
	if err != nil {
		return h, w.gone(err)
	}
	defer body.Close() //nolint:errcheck // only read
	if h, err = ogg.ReadHead(body); err != nil {
		return h, err
	}
	_, err = io.Copy(io.Discard, body) // so that the connection is used again
	return h, err
}

// vorbis is the name that Vorbis comments have for what ffmpeg calls otherwise.
func vorbis(name string) string {
	if name == "album_artist" {
		return "ALBUMARTIST"
	}
	return name
}
