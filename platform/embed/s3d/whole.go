package s3d

import (
	"errors"
	"io"

	"github.com/versity/versitygw/s3err"
)

// whole is the body of a request that announced its length. The library takes
// the end of a connection for the end of a body, and would store what came as if
// it were everything.
type whole struct {
	r    io.Reader
	left int64
}

// announced returns r as a body that must have size bytes; nil is unknown.
func announced(r io.Reader, size *int64) io.Reader {
	if r == nil || size == nil {
		return r
	}
	return &whole{r: r, left: *size}
}

// Read reads on. The end before all bytes came is an error.
func (w *whole) Read(p []byte) (int, error) {
	n, err := w.r.Read(p)
	w.left -= int64(n)
	if errors.Is(err, io.EOF) && w.left > 0 {
		return n, s3err.GetAPIError(s3err.ErrIncompleteBody)
	}
	return n, err
}
