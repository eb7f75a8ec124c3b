package s3d

import (
	"io"
	"sync"
)

// streamBytes is how much of an object goes to its reader at a time: a socket takes
// some 200 KB.
const streamBytes = 64 << 10

// streamed is the body of an answer. The server's own way from a file to a socket that
// is not TCP goes by 4 KB: a read and a write for each.
type streamed struct {
	io.ReadCloser
	buffers *sync.Pool // of *[streamBytes]byte
}

var _ io.WriterTo = streamed{}

// WriteTo writes all that is left to w.
func (s streamed) WriteTo(w io.Writer) (int64, error) {
	buf, ok := s.buffers.Get().(*[streamBytes]byte)
	if !ok {
		buf = new([streamBytes]byte)
	}
	defer s.buffers.Put(buf)
	// What w and the file would do by themselves is hidden.
	return io.CopyBuffer(struct{ io.Writer }{w}, struct{ io.Reader }{s.ReadCloser}, buf[:])
}
