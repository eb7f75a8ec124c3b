package wav

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
)

const (
	minRate     = 1000
	maxRate     = 768000
	maxChannels = 8

	formatExtensible = 0xFFFE

	// What may precede the data, so that a hostile file ends soon.
	maxChunks  = 256
	maxSkipped = 16 << 20
	maxFormat  = 1 << 10

	untilEOF = math.MaxInt64 // size of data that ends where the input does

	headBytes  = 4 << 10  // are buffered, for the header; larger reads go straight to the input
	chunkBytes = 64 << 10 // of samples are read at a time: a socket has as many
)

var (
	// ErrFormat is wrapped when the input is not a WAV file that this package
	// reads; the text says why.
	ErrFormat = errors.New("not a readable WAV file")
	// ErrTruncated is wrapped when the input ends before the data does.
	ErrTruncated = errors.New("WAV file is cut short")
	// ErrTooLong is wrapped by [Decode] when there are more samples than allowed.
	ErrTooLong = errors.New("WAV file is too long")
)

// pcmSubformat is the GUID of PCM after its first two bytes, which hold the
// format as a plain fmt chunk would.
const pcmSubformat = "\x00\x00\x00\x00\x10\x00\x80\x00\x00\xaa\x00\x38\x9b\x71"

// Reader reads the samples of one file in constant memory. It is not safe for
// concurrent use.
type Reader struct {
	// Rate is the sample rate in Hz.
	Rate int
	// Channels is 1 to 8. Samples of the channels alternate.
	Channels int

	r     *bufio.Reader
	left  int64 // bytes of data still to read; untilEOF if unknown
	read  int64
	total int64 // bytes of data; untilEOF if unknown
	buf   []byte
	err   error
}

// NewReader reads the header from r, up to the first sample. Errors wrap
// [ErrFormat], [ErrTruncated] or r's error.
func NewReader(r io.Reader) (*Reader, error) {
	w := &Reader{r: bufio.NewReaderSize(r, headBytes)}
	if err := w.header(); err != nil {
		return nil, err
	}
	w.total = w.left
	return w, nil
}

// Samples returns how many samples a channel has; ok is false if the header
// does not tell.
func (w *Reader) Samples() (n int64, ok bool) {
	if w.total == untilEOF {
		return 0, false
	}
	return w.total / int64(w.blockBytes()), true
}

func (w *Reader) blockBytes() int { return w.Channels * bytesPerSample }

func (w *Reader) header() error {
	var b [12]byte
	if err := w.full(b[:]); err != nil {
		return err
	}
	id := string(b[:4])
	if (id != "RIFF" && id != "RF64" && id != "BW64") || string(b[8:]) != "WAVE" {
		return fmt.Errorf("it begins with %q: %w", b[:], ErrFormat)
	}
	riff := binary.LittleEndian.Uint32(b[4:])
	long := int64(-1) // size of the data after ds64
	skipped := int64(0)
	for range maxChunks {
		if err := w.full(b[:8]); err != nil {
			return err
		}
		size := int64(binary.LittleEndian.Uint32(b[4:]))
		var err error
		switch name := string(b[:4]); {
		case name == "data":
			return w.data(size, riff, long)
		case name == "fmt ":
			err = w.format(size)
		case name == "ds64" && id != "RIFF" && long < 0:
			long, err = w.sizes(size)
		default:
			if skipped += size; skipped > maxSkipped {
				return fmt.Errorf("more than %d bytes precede the data: %w", maxSkipped, ErrFormat)
			}
			err = w.skip(size)
		}
		if err == nil && size%2 == 1 {
			err = w.skip(1) // chunks are padded to an even length
		}
		if err != nil {
			return err
		}
	}
	return fmt.Errorf("more than %d chunks precede the data: %w", maxChunks, ErrFormat)
}

// format reads a fmt chunk.
func (w *Reader) format(size int64) error {
	if w.Rate != 0 {
		return fmt.Errorf("it has two fmt chunks: %w", ErrFormat)
	}
	if size < 16 || size > maxFormat {
		return fmt.Errorf("its fmt chunk has %d bytes: %w", size, ErrFormat)
	}
	b := make([]byte, size)
	if err := w.full(b); err != nil {
		return err
	}
	format, bits := binary.LittleEndian.Uint16(b), binary.LittleEndian.Uint16(b[14:])
	if format == formatExtensible && size >= 40 && string(b[26:40]) == pcmSubformat {
		format = binary.LittleEndian.Uint16(b[24:])
	}
	if format != formatPCM || bits != 8*bytesPerSample {
		return fmt.Errorf("it holds %d-bit samples of format %#x; want 16-bit PCM: %w", bits, format, ErrFormat)
	}
	channels, rate := int(binary.LittleEndian.Uint16(b[2:])), binary.LittleEndian.Uint32(b[4:])
	if channels < 1 || channels > maxChannels || rate < minRate || rate > maxRate {
		return fmt.Errorf("it has %d channels at %d Hz: %w", channels, rate, ErrFormat)
	}
	if align := int(binary.LittleEndian.Uint16(b[12:])); align != channels*bytesPerSample {
		return fmt.Errorf("it has %d channels in blocks of %d bytes: %w", channels, align, ErrFormat)
	}
	w.Channels, w.Rate = channels, int(rate)
	return nil
}

// sizes reads a ds64 chunk and returns the size of the data.
func (w *Reader) sizes(size int64) (int64, error) {
	if size < 24 || size > maxSkipped {
		return 0, fmt.Errorf("its ds64 chunk has %d bytes: %w", size, ErrFormat)
	}
	var b [24]byte
	if err := w.full(b[:]); err != nil {
		return 0, err
	}
	data := binary.LittleEndian.Uint64(b[8:])
	if data > MaxSamples*bytesPerSample {
		data = untilEOF
	}
	return int64(data), w.skip(size - int64(len(b))) //nolint:gosec // checked above
}

// data begins the data chunk of the size that its header gives.
func (w *Reader) data(size int64, riff uint32, long int64) error {
	if w.Rate == 0 {
		return fmt.Errorf("its data precedes its format: %w", ErrFormat)
	}
	switch {
	case size == unknownSize && long >= 0:
		size = long
	case placeholder(size), size == 0 && riff == 0:
		size = untilEOF
	}
	if size != untilEOF && size%int64(w.blockBytes()) != 0 {
		return fmt.Errorf("its data of %d bytes is no multiple of %d: %w", size, w.blockBytes(), ErrFormat)
	}
	w.left = size
	return nil
}

// placeholder reports whether size is what encoders write when they do not know
// it: the largest 32-bit number, or the largest signed one, or a little less to
// leave room for a header. No file of our own has such a size.
func placeholder(size int64) bool {
	return size >= smallestPlaceholder || size == 0x7FFFF000 ||
		(size >= 0x7FFFFF00 && size <= math.MaxInt32 && size%2 == 1)
}

// Read reads bytes of samples, little endian. It returns io.EOF after the last,
// and an error that wraps [ErrTruncated] if the input ends before that or within
// a sample. What follows the data is left unread.
func (w *Reader) Read(p []byte) (int, error) {
	if w.err != nil {
		return 0, w.err
	}
	if w.left == 0 {
		return 0, io.EOF
	}
	n, err := w.r.Read(p[:min(int64(len(p)), w.left)])
	w.read += int64(n)
	if w.left != untilEOF {
		w.left -= int64(n)
	}
	if err == nil || n > 0 {
		return n, nil
	}
	w.err = err
	switch {
	case errors.Is(err, io.ErrUnexpectedEOF): // the input knows itself that it was cut
		w.err = fmt.Errorf("its data: %w", ErrTruncated)
	case errors.Is(err, io.EOF):
		switch {
		case w.left != untilEOF:
			w.err = fmt.Errorf("%d bytes of data are missing: %w", w.left, ErrTruncated)
		case w.read%int64(w.blockBytes()) != 0:
			w.err = fmt.Errorf("it ends within a sample: %w", ErrTruncated)
		}
	}
	return 0, w.err
}

// ReadSamples reads up to len(dst) samples, averaging channels to one, and
// returns how many. It returns 0 and io.EOF after the last; errors are those of
// [Reader.Read]. It must not be mixed with Read.
func (w *Reader) ReadSamples(dst []int16) (int, error) {
	block := w.blockBytes()
	if memory, ok := bytesOf(dst); ok && w.Channels == 1 {
		n, err := io.ReadFull(w, memory)
		return whole(n/block, err)
	}
	want := min(len(dst), chunkBytes/block) * block
	if cap(w.buf) < want {
		w.buf = make([]byte, want)
	}
	n, err := io.ReadFull(w, w.buf[:want])
	if n, err = whole(n/block, err); err != nil {
		return 0, err
	}
	if w.Channels == 1 {
		getSamples(dst[:n], w.buf)
		return n, nil
	}
	for i := range dst[:n] {
		sum := 0
		for c := range w.Channels {
			sum += int(int16(binary.LittleEndian.Uint16(w.buf[i*block+2*c:]))) //nolint:gosec // the same 16 bits
		}
		dst[i] = int16(sum / w.Channels) //nolint:gosec // an average of such
	}
	return n, nil
}

// whole returns n, and err if there is nothing else: an error beside samples is
// reported by the next call.
func whole(n int, err error) (int, error) {
	if n > 0 {
		err = nil
	}
	return n, err
}

// Decode reads a whole file of at most maxSamples samples, as one channel.
// Errors wrap [ErrFormat], [ErrTruncated], [ErrTooLong] or r's error.
func Decode(r io.Reader, maxSamples int) (rate int, samples []int16, err error) {
	w, err := NewReader(r)
	if err != nil {
		return 0, nil, err
	}
	const trusted = 1 << 20 // a header may lie; beyond this, memory follows data
	size := 16 << 10
	if n, ok := w.Samples(); ok {
		if n > int64(maxSamples) {
			return 0, nil, fmt.Errorf("%d samples; at most %d: %w", n, maxSamples, ErrTooLong)
		}
		size = int(min(n, trusted))
	}
	samples = make([]int16, 0, size+1) // one more: the end is found without growing
	for {
		if len(samples) == cap(samples) {
			samples = append(samples, 0)[:len(samples)]
		}
		n, err := w.ReadSamples(samples[len(samples):cap(samples)])
		samples = samples[:len(samples)+n]
		if len(samples) > maxSamples {
			return 0, nil, fmt.Errorf("more than %d samples: %w", maxSamples, ErrTooLong)
		}
		if errors.Is(err, io.EOF) {
			return w.Rate, samples, nil
		}
		if err != nil {
			return 0, nil, err
		}
	}
}

// full fills b from the input.
func (w *Reader) full(b []byte) error {
	if _, err := io.ReadFull(w.r, b); err != nil {
		return headerError(err)
	}
	return nil
}

func (w *Reader) skip(n int64) error {
	if _, err := io.CopyN(io.Discard, w.r, n); err != nil {
		return headerError(err)
	}
	return nil
}

func headerError(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("it ends before its data begins: %w", ErrTruncated)
	}
	return fmt.Errorf("read WAV header: %w", err)
}
