package readalong

import (
	"archive/zip"
	"bytes"
	"compress/flate"
	"fmt"
	"hash/crc32"
	"io"
)

// Meta is what a book says of itself.
type Meta struct {
	Title      string
	Author     string // may be empty
	Narrator   string
	Language   string // BCP 47
	Identifier string // a URI, for a composed book
	Year       int    // of a composed book; 0: not known
	Synthetic  string // says that the voice is synthetic
}

// Chapter is a chapter with its audio file.
type Chapter struct {
	Title  string
	Audio  string // the file's name in the book; empty: no audio
	Media  string // its media type
	Millis int64  // its length
}

// Stretch is where in a segment's text something begins, and when it sounds.
type Stretch struct {
	At     int   // byte of the text
	Millis int64 // of the chapter's file
}

// Segment is a segment of a chapter, in reading order.
type Segment struct {
	Document   string // of the spoken EPUB; empty if it is in none
	Start, End int    // its bytes there
	Text       string
	Language   string
	Paragraph  bool      // a paragraph ends with it
	Sentences  []Stretch // the first is the segment's own beginning; none: it does not sound
	Words      []Stretch
}

// Counts tell how well the overlay could be made.
type Counts struct {
	Sentences int `json:"sentences"`    // that sound
	Elements  int `json:"in_paragraph"` // of these, those that only an element around them stands for
	Unplaced  int `json:"unplaced"`     // and those that nothing stands for
}

// Book is an EPUB in the making: for each chapter [Book.Begin], then [Book.Add] for
// its segments; then [Book.Audio] for each chapter that has audio, then [Book.Close].
// It is not safe for concurrent use. After an error it is of no use.
type Book interface {
	Begin(c Chapter) error
	Add(s Segment) error
	// Audio stores the file of one chapter: size bytes, whose IEEE CRC-32 is sum.
	Audio(c Chapter, size int64, sum uint32, r io.Reader) error
	// Close ends the book; what is below stays open.
	Close() error
	Counts() Counts
}

const (
	mediaEPUB = "application/epub+zip"
	mediaXHTM = "application/xhtml+xml"
	mediaSMIL = "application/smil+xml"
	// activeClass is the class that a reading system gives to what sounds.
	activeClass = "-epub-media-overlay-active"
	styleSheet  = "." + activeClass + " { background-color: #ffe680; color: #000; }\n"
	// epoch is 1 January 1980, the first day that a ZIP has.
	epoch = 1<<5 | 1
)

// packer writes the files of a ZIP without times and without anything behind a
// file that belongs in front of it.
type packer struct{ zip *zip.Writer }

// newPacker begins an EPUB.
func newPacker(w io.Writer) (*packer, error) {
	p := &packer{zip.NewWriter(w)}
	return p, p.raw("mimetype", zip.Store, []byte(mediaEPUB), int64(len(mediaEPUB)), crc32.ChecksumIEEE([]byte(mediaEPUB)))
}

// put stores a file, compressed.
func (p *packer) put(name string, data []byte) error {
	var packed bytes.Buffer
	w, err := flate.NewWriter(&packed, flate.DefaultCompression)
	if err != nil {
		return err
	}
	if _, err := w.Write(data); err != nil {
		return err
	}
	if err := w.Close(); err != nil {
		return err
	}
	return p.raw(name, zip.Deflate, packed.Bytes(), int64(len(data)), crc32.ChecksumIEEE(data))
}

func (p *packer) raw(name string, method uint16, packed []byte, size int64, sum uint32) error {
	w, err := p.zip.CreateRaw(header(name, method, int64(len(packed)), size, sum))
	if err != nil {
		return err
	}
	_, err = w.Write(packed)
	return err
}

// stream stores a file as it comes.
func (p *packer) stream(name string, size int64, sum uint32, r io.Reader) error {
	w, err := p.zip.CreateRaw(header(name, zip.Store, size, size, sum))
	if err != nil {
		return err
	}
	h := crc32.NewIEEE()
	n, err := io.Copy(io.MultiWriter(w, h), r)
	if err == nil && (n != size || h.Sum32() != sum) {
		err = fmt.Errorf("%s has %d bytes, or others; want %d", name, n, size)
	}
	return err
}

func header(name string, method uint16, packed, size int64, sum uint32) *zip.FileHeader {
	return &zip.FileHeader{
		Name: name, Method: method, ModifiedDate: epoch, CRC32: sum, //nolint:staticcheck // CreateRaw takes the old field
		CompressedSize64: uint64(packed), UncompressedSize64: uint64(size), //nolint:gosec // never negative
	}
}
