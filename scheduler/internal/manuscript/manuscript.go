package manuscript

import (
	"context"
	"io"
	"iter"
	"strings"

	"github.com/voicemill/voicemill/job"
)

// The media types that [Open] reads.
const (
	TypeEPUB     = "application/epub+zip"
	TypeMarkdown = "text/markdown"
	TypeHTML     = "text/html"
	TypeXHTML    = "application/xhtml+xml"
	TypePlain    = "text/plain"
)

// Options say how a document is read. The zero value is ready for use.
type Options struct {
	// Language is the BCP 47 tag of the request. Where it is empty the
	// document's own language counts, and English where it names none.
	Language string
	// CharsPerSecond predicts the pace of speech in a language. Nil means
	// [CharsPerSecond].
	CharsPerSecond func(lang string) float64
	// MaxSegmentSeconds is the hard cap of a segment's predicted audio;
	// 0 means 18.
	MaxSegmentSeconds float64
	// Limits bound what a document may cost.
	Limits Limits
	// Cover asks for the cover of a book.
	Cover bool
}

// Limits bound what reading a document may cost. Zero fields take the
// defaults; a document beyond one of them is refused as job.TooLarge.
type Limits struct {
	DocumentBytes int64 // one document, uncompressed; 32 MiB
	TotalBytes    int64 // everything read from one EPUB; 1 GiB
	Entries       int   // files in an EPUB; 20,000
	Ratio         int64 // compression of a file over 1 MiB; 200
	Depth         int   // nested elements; 512
}

// The defaults of Options and Limits.
const (
	defaultMaxSeconds    = 18.0 // CosyVoice3 cuts off at 30 s; 18 s leaves 1 in 3,000 over it
	defaultDocumentBytes = 32 << 20
	defaultTotalBytes    = 1 << 30
	defaultEntries       = 20_000
	defaultRatio         = 200
	defaultDepth         = 512
	defaultLanguage      = "en"
)

func (o Options) withDefaults() Options {
	if o.CharsPerSecond == nil {
		o.CharsPerSecond = CharsPerSecond
	}
	if o.MaxSegmentSeconds <= 0 {
		o.MaxSegmentSeconds = defaultMaxSeconds
	}
	l := &o.Limits
	l.DocumentBytes = positive(l.DocumentBytes, defaultDocumentBytes)
	l.TotalBytes = positive(l.TotalBytes, defaultTotalBytes)
	l.Entries = positive(l.Entries, defaultEntries)
	l.Ratio = positive(l.Ratio, defaultRatio)
	l.Depth = positive(l.Depth, defaultDepth)
	return o
}

func positive[T int | int64](v, fallback T) T {
	if v > 0 {
		return v
	}
	return fallback
}

// Document is an opened manuscript. It reads from the io.ReaderAt that Open was
// given, which must stay valid until the last use. It is not safe for
// concurrent use.
type Document struct {
	About    job.Metadata // what it says of itself, bounded as a request's is; several authors are joined with ", "
	Language string       // BCP 47, never empty
	Cover    *Cover       // nil if none was asked for, or there is none that can be used

	opts     Options
	declared string // the language that the document itself names
	source   source
}

// source is one kind of document: it passes its text to a binder.
type source interface {
	// read passes every passage in reading order; it may be called again.
	read(b *binder) error
}

// Open reads the frame of a document: package, navigation and metadata of an
// EPUB, the head of the others. The mediaType is one of the Type constants,
// parameters such as charset allowed; nothing is guessed from names. The
// context bounds Open alone.
//
// A fault of the document is a *job.Error of kind Invalid or TooLarge whose
// Public sentence names it.
func Open(ctx context.Context, r io.ReaderAt, size int64, mediaType string, opts Options) (*Document, error) {
	opts = opts.withDefaults()
	kind, params, _ := strings.Cut(mediaType, ";")
	d := &Document{opts: opts}
	var err error
	switch strings.ToLower(strings.TrimSpace(kind)) {
	case TypeEPUB:
		err = d.openEPUB(ctx, r, size)
	case TypeMarkdown:
		err = d.openMarkdown(r, size, params)
	case TypeHTML, TypeXHTML:
		err = d.openMarkup(r, size, params)
	case TypePlain:
		err = d.openPlain(r, size, params)
	default:
		err = invalid("the media type %q is none of the document types that can be read", kind)
	}
	if err == nil {
		err = ctx.Err()
	}
	if err != nil {
		return nil, err
	}
	d.About, d.declared = d.About.Bounded(), d.Language
	if opts.Language != "" {
		d.Language = opts.Language
	}
	if d.Language == "" {
		d.Language = defaultLanguage
	}
	return d, nil
}

// FromText returns a Document of plain text, for jobs that carry their text
// inline.
func FromText(ctx context.Context, text string, opts Options) (*Document, error) {
	return Open(ctx, strings.NewReader(text), int64(len(text)), TypePlain, opts)
}

// Close ends the use of d. It does not close the reader that Open was given,
// and never fails.
func (d *Document) Close() error {
	d.source = nil
	return nil
}

// Chapters reads the document. Each chapter is complete when it is passed and
// belongs to the caller; only one is held at a time. The sequence ends after
// the first error, which is passed with a nil chapter. A document without a
// word to speak is an error. The sequence may be started again.
func (d *Document) Chapters() iter.Seq2[*Chapter, error] {
	return func(yield func(*Chapter, error) bool) {
		if d.source == nil {
			yield(nil, &job.Error{Op: "manuscript.Chapters", Kind: job.Internal, Err: errClosed})
			return
		}
		b := newBinder(d, yield)
		err := d.source.read(b)
		if err == nil {
			err = b.finish()
		}
		if err != nil && !b.stopped {
			yield(nil, err)
		}
	}
}

// Matter says where in a book a chapter belongs.
type Matter uint8

// The matters of a book.
const (
	Body  Matter = iota // the work itself; the zero value
	Front               // cover, title page, copyright, contents, dedication, preface
	Back                // notes, appendix, bibliography, glossary, index, colophon
)

// String returns "body", "front" or "back".
func (m Matter) String() string { return [...]string{"body", "front", "back"}[m] }

// Break says what follows a segment, and so which pause.
type Break uint8

// The breaks after a segment, from the shortest pause to the longest.
const (
	BreakNone      Break = iota // the sentence goes on in the next segment
	BreakSentence               // a sentence ends
	BreakParagraph              // a paragraph or heading ends
	BreakChapter                // the chapter ends
)

// String returns "none", "sentence", "paragraph" or "chapter".
func (b Break) String() string {
	return [...]string{"none", "sentence", "paragraph", "chapter"}[b]
}

// Chapter is an ordered part of a document: one audio file.
type Chapter struct {
	Title    string // from the navigation, else the heading; may be empty
	Matter   Matter
	Segments []Segment // at least one
}

// Segment is the unit of synthesis.
type Segment struct {
	// Text is what is spoken: NFC, white space folded to single spaces, without
	// note marks, ruby readings and page numbers. It is never empty and holds
	// at least one letter, digit or symbol that has a name.
	Text string
	// Language is the BCP 47 tag of this passage if the document says that it is
	// in another language than the document, else empty.
	Language string
	// Source is where Text came from.
	Source Span
	// Break is what follows.
	Break Break
	// Heading is true for a title that stands in the text.
	Heading bool
	// Seconds is the predicted length of the audio.
	Seconds float64
	// Pronunciations are in order and do not overlap.
	Pronunciations []Pronunciation
}

// Span is a byte range in a document as it was delivered, before any charset
// conversion: from the first byte of the first character spoken to the end of
// the last one. Markup and unspoken text may lie between.
type Span struct {
	Document   string // name of the file inside the EPUB; empty for a single document
	Start, End int64
}

// Pronunciation says how a part of a segment's text is to be pronounced, by
// the author's own words: an ssml:ph attribute or a lexicon that the document
// links.
type Pronunciation struct {
	Start, End int    // bytes of Segment.Text
	Alphabet   string // "ipa", "x-sampa", …; empty for an alias
	Phonemes   string // in Alphabet; empty for an alias
	Alias      string // words to speak in place of these; empty for phonemes
}
