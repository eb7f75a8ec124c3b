package wav

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
)

const (
	bytesPerSample = 2
	plainHeader    = 44
	rf64Header     = 80
	formatPCM      = 1
	unknownSize    = math.MaxUint32

	// Sizes from here on mean "unknown" to readers, so data this long is RF64.
	smallestPlaceholder = unknownSize - 0xFF
	maxPlainData        = smallestPlaceholder - 2
)

// MaxSamples limits the samples of a file so that no size overflows.
const MaxSamples = 1 << 60

// ErrSampleCount is wrapped by [Writer.Close] when fewer or more samples were
// written than announced.
var ErrSampleCount = errors.New("sample count differs from the header")

// HeaderSize returns the length of the header for so many samples: 44, or 80
// for RF64.
func HeaderSize(samples int64) int64 {
	if data := samples * bytesPerSample; data > maxPlainData || placeholder(data) {
		return rf64Header
	}
	return plainHeader
}

// FileSize returns the length in bytes of a file of so many samples.
func FileSize(samples int64) int64 { return HeaderSize(samples) + samples*bytesPerSample }

// Header returns everything of a mono file that precedes its samples, of which
// there are exactly the given number. rate is in Hz. It panics if rate or
// samples is out of range, since both come from our own code.
func Header(rate int, samples int64) []byte {
	if rate < minRate || rate > maxRate || samples < 0 || samples > MaxSamples {
		panic(fmt.Sprintf("bug: WAV header for %d samples at %d Hz", samples, rate))
	}
	data := uint64(samples) * bytesPerSample
	size := HeaderSize(samples)
	riff := uint64(size) - 8 + data
	b := make([]byte, 0, size)
	if size == plainHeader {
		b = chunk(b, "RIFF", uint32(riff)) //nolint:gosec // fits a plain header
		b = append(b, "WAVE"...)
	} else {
		b = chunk(b, "RF64", unknownSize)
		b = append(b, "WAVE"...)
		b = chunk(b, "ds64", 28)
		b = binary.LittleEndian.AppendUint64(b, riff)
		b = binary.LittleEndian.AppendUint64(b, data)
		b = binary.LittleEndian.AppendUint64(b, uint64(samples))
		b = binary.LittleEndian.AppendUint32(b, 0) // no further sizes
	}
	b = chunk(b, "fmt ", 16)
	b = binary.LittleEndian.AppendUint16(b, formatPCM)
	b = binary.LittleEndian.AppendUint16(b, 1)
	b = binary.LittleEndian.AppendUint32(b, uint32(rate))                //nolint:gosec // checked above
	b = binary.LittleEndian.AppendUint32(b, uint32(rate*bytesPerSample)) //nolint:gosec // checked above
	b = binary.LittleEndian.AppendUint16(b, bytesPerSample)
	b = binary.LittleEndian.AppendUint16(b, 8*bytesPerSample)
	if size == plainHeader {
		return chunk(b, "data", uint32(data)) //nolint:gosec // fits a plain header
	}
	return chunk(b, "data", unknownSize)
}

// StreamHeader returns the header of a mono file whose length nobody knows yet:
// both sizes are the largest that there is, which readers take for "until the
// end". rate is as for [Header].
func StreamHeader(rate int) []byte {
	b := Header(rate, 0)
	binary.LittleEndian.PutUint32(b[4:], unknownSize)
	binary.LittleEndian.PutUint32(b[plainHeader-4:], unknownSize)
	return b
}

func chunk(b []byte, id string, size uint32) []byte {
	return binary.LittleEndian.AppendUint32(append(b, id...), size)
}

// AppendSamples appends samples to b as they are in a file.
func AppendSamples(b []byte, samples []int16) []byte {
	from, size := len(b), bytesPerSample*len(samples)
	b = slices.Grow(b, size)[:from+size]
	putSamples(b[from:], samples)
	return b
}

// Encode returns a whole mono file.
func Encode(rate int, samples []int16) []byte {
	b := make([]byte, 0, FileSize(int64(len(samples))))
	return AppendSamples(append(b, Header(rate, int64(len(samples)))...), samples)
}

// Writer writes a mono file of a known number of samples. It is not safe for
// concurrent use.
type Writer struct {
	w    io.Writer
	left int64
	buf  []byte
}

// NewWriter writes the header to w and returns a Writer for the samples. See
// [Header] for rate and samples. w is never closed.
func NewWriter(w io.Writer, rate int, samples int64) (*Writer, error) {
	if _, err := w.Write(Header(rate, samples)); err != nil {
		return nil, fmt.Errorf("write WAV header: %w", err)
	}
	return &Writer{w: w, left: samples}, nil
}

// WriteSamples writes samples, or nothing if they are more than are left.
func (w *Writer) WriteSamples(samples []int16) error {
	for len(samples) > 0 {
		part := samples[:min(len(samples), 8<<10)]
		if int64(len(samples)) > w.left {
			return fmt.Errorf("%d samples, of which %d are left to write: %w", len(samples), w.left, ErrSampleCount)
		}
		w.buf = AppendSamples(w.buf[:0], part)
		if _, err := w.w.Write(w.buf); err != nil {
			return fmt.Errorf("write WAV samples: %w", err)
		}
		w.left -= int64(len(part))
		samples = samples[len(part):]
	}
	return nil
}

// Close reports samples that are missing. It writes nothing.
func (w *Writer) Close() error {
	if w.left != 0 {
		return fmt.Errorf("%d samples were not written: %w", w.left, ErrSampleCount)
	}
	return nil
}
