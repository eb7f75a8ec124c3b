package wav

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"unsafe"
)

var errSeek = errors.New("wav: seek before the start")

// File reads the bytes of a whole mono file out of its samples, which it does not
// copy where memory is little-endian; they must not change meanwhile. It is not safe
// for concurrent use.
type File struct {
	header, data []byte
	at           int64 // of the next byte
}

var (
	_ io.ReadSeeker = (*File)(nil)
	_ io.WriterTo   = (*File)(nil)
)

// NewFile returns a File at its start; see [Encode] for what it reads.
func NewFile(rate int, samples []int16) *File {
	data, ok := bytesOf(samples)
	if !ok {
		data = AppendSamples(nil, samples)
	}
	return &File{header: Header(rate, int64(len(samples))), data: data}
}

// Size returns the bytes of the whole file.
func (f *File) Size() int64 { return int64(len(f.header) + len(f.data)) }

// Len returns the bytes that are still to be read.
func (f *File) Len() int { return int(max(0, f.Size()-f.at)) }

// rest returns what is still to be read.
func (f *File) rest() (header, data []byte) {
	first := int64(len(f.header))
	return f.header[min(f.at, first):], f.data[min(max(0, f.at-first), int64(len(f.data))):]
}

// Read reads on.
func (f *File) Read(p []byte) (n int, err error) {
	if f.at >= f.Size() {
		return 0, io.EOF
	}
	header, data := f.rest()
	n = copy(p, header)
	n += copy(p[n:], data)
	f.at += int64(n)
	return n, nil
}

// WriteTo writes all that is left to w.
func (f *File) WriteTo(w io.Writer) (n int64, err error) {
	header, data := f.rest()
	for _, part := range [][]byte{header, data} {
		if len(part) == 0 {
			continue
		}
		written, err := w.Write(part)
		n, f.at = n+int64(written), f.at+int64(written)
		if err != nil {
			return n, err //nolint:wrapcheck // the writer's own error
		}
	}
	return n, nil
}

// Seek implements io.Seeker.
func (f *File) Seek(offset int64, whence int) (int64, error) {
	switch whence {
	case io.SeekCurrent:
		offset += f.at
	case io.SeekEnd:
		offset += f.Size()
	}
	if offset < 0 {
		return 0, fmt.Errorf("%w: %d", errSeek, offset)
	}
	f.at = offset
	return offset, nil
}

// bytesOf returns the memory of samples, which is what a file has of them; ok is false
// where memory is not little-endian.
func bytesOf(samples []int16) (b []byte, ok bool) {
	if binary.NativeEndian.Uint16([]byte{1, 0}) != 1 {
		return nil, false
	}
	return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(samples))), bytesPerSample*len(samples)), true //nolint:gosec // as many bytes as the samples have
}

// putSamples writes samples to b as they are in a file.
func putSamples(b []byte, samples []int16) {
	if from, ok := bytesOf(samples); ok {
		copy(b, from)
		return
	}
	for i, s := range samples {
		binary.LittleEndian.PutUint16(b[bytesPerSample*i:], uint16(s)) //nolint:gosec // the same 16 bits
	}
}

// getSamples reads samples as putSamples writes them.
func getSamples(samples []int16, b []byte) {
	for i := range samples {
		samples[i] = int16(binary.LittleEndian.Uint16(b[bytesPerSample*i:])) //nolint:gosec // likewise
	}
}
