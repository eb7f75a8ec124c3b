package ogg

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
)

const (
	maxWords = 16 << 20 // bytes of what a file says of itself, its cover in base64 among it
	serial   = 1        // of the only stream of a book
	vendor   = "voicemill"
)

// Head is what an Opus file has before its sound.
type Head struct {
	Opus  []byte // OpusHead, as it is
	Bytes int64  // before the first page with sound
}

// ReadHead reads a file up to its first page with sound.
func ReadHead(r io.Reader) (h Head, err error) {
	var p page
	if err := p.next(r); err != nil {
		return h, err
	}
	if !bytes.HasPrefix(p.body, []byte("OpusHead")) || p.ends() != 1 || p.flags&first == 0 {
		return h, fmt.Errorf("%w: it does not begin with a head", errForm)
	}
	h = Head{Opus: bytes.Clone(p.body), Bytes: p.size()}
	for begun := false; ; begun = true {
		if err := p.next(r); err != nil {
			return h, err
		}
		if !begun && !bytes.HasPrefix(p.body, []byte("OpusTags")) {
			return h, fmt.Errorf("%w: it says nothing of itself", errForm)
		}
		if h.Bytes += p.size(); h.Bytes > maxWords {
			return h, fmt.Errorf("%w: it says too much of itself", errForm)
		}
		switch n := p.ends(); {
		case n == 1 && p.table[len(p.table)-1] < segments:
			return h, nil
		case n > 0:
			return h, fmt.Errorf("%w: its sound begins on a page with words", errForm)
		}
	}
}

// next is read where a page has to be.
func (p *page) next(r io.Reader) error {
	err := p.read(r)
	if err == io.EOF { //nolint:errorlint // as read says it
		return fmt.Errorf("%w: it ends early", errForm)
	}
	return err
}

// Comment is one thing that a file says of itself.
type Comment struct{ Name, Value string }

// Book writes a file of the sound of others. The zero value is not ready for use: see
// [NewBook].
type Book struct {
	w     io.Writer
	pages uint32
	base  int64 // samples of the files before
	buf   []byte
	page  page
}

// HeadOf returns the pages that a book begins with, and how many they are.
func HeadOf(opus []byte, comments []Comment) (head []byte, n uint32) {
	said := binary.LittleEndian.AppendUint32([]byte("OpusTags"), uint32(len(vendor)))
	said = append(said, vendor...)
	said = binary.LittleEndian.AppendUint32(said, uint32(len(comments))) //nolint:gosec // a few and one or two a chapter
	for _, c := range comments {
		said = binary.LittleEndian.AppendUint32(said, uint32(len(c.Name)+1+len(c.Value))) //nolint:gosec // at most job.MaxCoverBytes in base64
		said = append(append(append(said, c.Name...), '='), c.Value...)
	}
	start := pages(opus, first)
	for _, p := range append(start, pages(said, 0)...) {
		head = p.append(head, serial, n)
		n++
	}
	return head, n
}

// NewBook returns a Book whose head, of n pages, was written to w.
func NewBook(w io.Writer, n uint32) *Book { return &Book{w: w, pages: n} }

// Add writes the pages with sound of one file, which r begins with and which end with
// size bytes. They hold so many samples, what the encoder puts before and behind the
// sound included; only of the last file the end is left out that its own last page
// leaves out.
func (b *Book) Add(r io.Reader, size, samples int64, end bool) error {
	in := io.LimitReader(r, size)
	for left := size; left > 0; {
		if err := b.page.next(in); err != nil {
			return err
		}
		left -= b.page.size()
		final := left == 0
		b.page.flags &= continued
		switch g := b.page.granule; {
		case final && end:
			b.page.flags |= last
			b.page.granule = b.base + min(g, samples)
		case final:
			b.page.granule = b.base + samples
		case g >= 0:
			b.page.granule = b.base + g
		}
		b.buf = b.page.append(b.buf[:0], serial, b.pages)
		b.pages++
		if _, err := b.w.Write(b.buf); err != nil {
			return err
		}
	}
	b.base += samples
	return nil
}
