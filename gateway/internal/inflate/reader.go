package inflate

import (
	"bufio"
	"compress/gzip"
	"errors"
	"io"

	"github.com/voicemill/voicemill/job"
)

// Reader unpacks one gzip stream while it arrives. What has come out is at any
// time within the limits for what has gone in. One goroutine uses it.
type Reader struct {
	l   Limits
	src source
	in  *bufio.Reader
	z   *gzip.Reader // nil before the first Read
	out int64
	err error // of every Read from now on
}

// source counts what it reads and keeps its error.
type source struct {
	r   io.Reader
	n   int64
	err error // other than io.EOF
}

func (s *source) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	s.n += int64(n)
	if err != nil && !errors.Is(err, io.EOF) {
		s.err = err
	}
	return n, err
}

// inputBytes is what is read of the source at a time.
const inputBytes = 4 << 10

// NewReader returns a Reader of what r yields. Nothing is read before the first
// Read.
func NewReader(r io.Reader, l Limits) *Reader {
	z := &Reader{l: l, src: source{r: r}}
	z.in = bufio.NewReaderSize(&z.src, inputBytes)
	return z
}

// Read returns what the stream holds as far as it has arrived; who packs can
// flush to have it read. It returns TooLarge above a limit, Invalid if this is no
// gzip or something follows it, and errors of the source as they are.
func (z *Reader) Read(p []byte) (int, error) {
	if z.err != nil {
		return 0, z.err
	}
	n, err := z.read(p)
	z.out += int64(n)
	most := min(z.l.Bytes, max(z.l.Floor, z.l.Ratio*(z.src.n-int64(z.in.Buffered()))))
	switch {
	case z.src.err != nil:
		z.err = z.src.err
	case z.out > most:
		z.err = tooLarge(most)
		return 0, z.err
	case errors.Is(err, io.EOF):
		z.err = z.end()
	case err != nil:
		z.err = bad(err)
	}
	return n, z.err
}

func (z *Reader) read(p []byte) (int, error) {
	if z.z == nil {
		var err error
		if z.z, err = gzip.NewReader(z.in); errors.Is(err, io.EOF) {
			return 0, io.ErrUnexpectedEOF
		}
		if err != nil {
			return 0, err
		}
		z.z.Multistream(false)
	}
	return z.z.Read(p)
}

// end returns io.EOF if nothing follows the stream.
func (z *Reader) end() error {
	_, err := z.in.ReadByte()
	switch {
	case z.src.err != nil:
		return z.src.err
	case err == nil:
		return bad(errTrailing)
	}
	return io.EOF
}

var errTrailing = errors.New("more follows the stream")

var _ io.Reader = (*Reader)(nil)

func bad(err error) error {
	return &job.Error{Op: "inflate.Gzip", Kind: job.Invalid, Public: "The body is not gzip, as its Content-Encoding says.", Err: err}
}
