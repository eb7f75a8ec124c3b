package reader

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"math"
	"os"

	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/scheduler/internal/manuscript"
)

// Reader starts children. It is safe for concurrent use.
type Reader struct {
	cfg     Config
	program string
}

// New returns a Reader whose children run this program.
func New(cfg Config) (*Reader, error) {
	program, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("reader: find the own program: %w", err)
	}
	return &Reader{cfg: cfg, program: program}, nil
}

// Options say how a document is read.
type Options struct {
	Language          string  // BCP 47, of the request; may be empty
	MaxSegmentSeconds float64 // of predicted audio
	Speed             float64 // of speech; 1 is normal
	Cover             bool    // whether the cover of a book is wanted
}

// Document is a document that a child has opened.
type Document struct {
	About    job.Metadata // what the document says of itself, bounded as a request's is
	Language string
	Cover    []byte // a picture as the document has it; nil if there is none

	r      *Reader
	source io.ReaderAt
	child  *child
	out    *bufio.Reader
	bytes  int64  // that the child has said
	buffer []byte // for the bytes that it asks for
}

// Open starts a child that reads a document of size bytes through source, which
// must be valid until the Document is closed; ctx bounds both. A fault of the
// document, and a document that costs too much, is a *job.Error of kind Invalid
// or TooLarge whose Public sentence names it.
func (r *Reader) Open(ctx context.Context, source io.ReaderAt, size int64, media string, opts Options) (_ *Document, err error) {
	c, err := start(ctx, r.program, r.cfg)
	if err != nil {
		return nil, &job.Error{Op: "reader.Open", Kind: job.Unavailable, Err: err}
	}
	d := &Document{r: r, source: source, child: c, out: bufio.NewReaderSize(c.output, 256<<10)}
	defer func() {
		if err != nil || d.Language == "" { // source may panic
			err = errors.Join(err, d.Close())
		}
	}()
	err = send(c.input, request{
		Size: size, Media: media, Language: opts.Language, MaxSegmentSeconds: opts.MaxSegmentSeconds, Speed: opts.Speed, Cover: opts.Cover,
		CPUSeconds: uint64(math.Ceil(r.cfg.CPU.Seconds())) + 1, //nolint:gosec // positive
	})
	var m message
	if err == nil {
		m, err = d.next(ctx)
	}
	if err == nil && (m.Opened == nil || m.Opened.Language == "") {
		err = errOrder
	}
	if err != nil {
		return nil, d.explain(ctx, err)
	}
	d.About, d.Language, d.Cover = m.Opened.About.Bounded(), m.Opened.Language, m.Opened.Cover // nothing that a child says is trusted
	return d, nil
}

var (
	errOrder = errors.New("the child said something that it should not say now")
	errEnded = errors.New("the child ended the document")
)

// next returns the next message that is not a question, and answers those. A
// fault of the document is an error; so is its end, errEnded.
func (d *Document) next(ctx context.Context) (m message, err error) {
	for {
		m = message{}
		n, err := receive(d.out, &m)
		if d.bytes += n; err != nil {
			return m, err
		}
		switch {
		case d.bytes > d.r.cfg.OutputBytes:
			d.child.kill(tooMuchOutput(d.r.cfg.OutputBytes))
			return m, errOrder
		case m.Read != nil:
			if err := d.answer(ctx, m.Read); err != nil {
				return m, err
			}
		case m.End != nil:
			if err := m.End.err(); err != nil {
				return m, &told{err}
			}
			return m, errEnded
		default:
			return m, nil
		}
	}
}

// told is a fault that the child found, whatever becomes of the child.
type told struct{ error }

func (d *Document) answer(ctx context.Context, s *span) error {
	if s.N < 0 || s.N > maxRead || s.Offset < 0 {
		return errOrder
	}
	if len(d.buffer) < 4+s.N {
		d.buffer = make([]byte, 4+s.N)
	}
	n, err := d.source.ReadAt(d.buffer[4:4+s.N], s.Offset)
	if err != nil && !errors.Is(err, io.EOF) {
		n = -1
	}
	if err := context.Cause(ctx); err != nil {
		return err
	}
	return answer(d.child.input, d.buffer, n)
}

// explain puts what ended the reading in the words of who sent the document.
func (d *Document) explain(ctx context.Context, err error) error {
	var t *told
	switch {
	case errors.As(err, &t):
		return t.error
	case context.Cause(ctx) != nil:
		return &job.Error{Op: "reader", Kind: job.Unavailable, Err: context.Cause(ctx)}
	}
	return d.child.why(err)
}

// Parts yields the document. It can be taken once. The sequence ends after the
// first error.
func (d *Document) Parts(ctx context.Context) iter.Seq2[*Part, error] {
	return func(yield func(*Part, error) bool) {
		for {
			m, err := d.next(ctx)
			switch {
			case errors.Is(err, errEnded):
				return
			case err == nil && (m.Part == nil || len(m.Part.Segments) == 0 || m.Part.Matter > manuscript.Back):
				err = errOrder
			}
			if err != nil {
				yield(nil, d.explain(ctx, err))
				return
			}
			if !yield(m.Part, nil) {
				return
			}
		}
	}
}

// Close ends the child at once, if it has not ended, and waits for it.
func (d *Document) Close() error { return d.child.close() }

func tooMuchOutput(bytes int64) error {
	return refused("The document has more than %d MiB of text and places in it.", bytes>>20)
}

func refused(format string, args ...any) error {
	return &job.Error{Op: "reader", Kind: job.TooLarge, Public: fmt.Sprintf(format, args...)}
}
