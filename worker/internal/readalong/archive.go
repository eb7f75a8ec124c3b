package readalong

import (
	"archive/zip"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/url"
	"path"
	"slices"
	"strings"

	"github.com/voicemill/voicemill/platform/ocf"
)

// The bounds of a foreign EPUB, as the reader of manuscripts has them.
const (
	mostEntries  = 20_000
	mostDocument = 16 << 20 // bytes of a document
	mostFrame    = 8 << 20  // bytes of the package document and the container
	mostRatio    = 200      // of what is larger than a mebibyte
)

// ErrUnfit says that an EPUB cannot be annotated; a book can be composed instead. What
// wraps it is a sentence for the owner.
var ErrUnfit = errors.New("readalong: the EPUB cannot be annotated")

// unfit wraps [ErrUnfit].
func unfit(format string, args ...any) error { return &unfitError{fmt.Sprintf(format, args...)} }

type unfitError struct{ why string }

func (e *unfitError) Error() string { return e.why }
func (e *unfitError) Unwrap() error { return ErrUnfit }

// archive is a foreign EPUB.
type archive struct{ *ocf.Container }

func openArchive(r io.ReaderAt, size int64) (*archive, error) {
	c, err := ocf.Open(r, size)
	switch {
	case errors.Is(err, ocf.ErrFormat):
		return nil, unfit("It is no readable ZIP archive.")
	case err != nil:
		return nil, err
	case c.Entries > mostEntries:
		return nil, unfit("It has more than %d files.", mostEntries)
	}
	c.Files = slices.DeleteFunc(c.Files, func(f *zip.File) bool { return strings.HasSuffix(f.Name, "/") })
	return &archive{c}, nil
}

// read unpacks a file of at most so many bytes.
func (a *archive) read(name string, most int64) ([]byte, error) {
	f := a.File(name)
	if f == nil {
		return nil, unfit("It lacks the file %q.", name)
	}
	if f.Flags&1 != 0 {
		return nil, unfit("Its file %q is encrypted.", name)
	}
	most = min(most, ocf.Cap(f, mostRatio))
	r, err := f.Open()
	if failed := a.Failed(); failed != nil {
		return nil, failed
	}
	if err != nil {
		return nil, unfit("Its file %q cannot be unpacked.", name)
	}
	defer r.Close() //nolint:errcheck // only read
	var data bytes.Buffer
	n, err := data.ReadFrom(io.LimitReader(r, most+1))
	switch {
	case a.Failed() != nil:
		return nil, a.Failed()
	case n > most:
		return nil, unfit("Its file %q is too large.", name)
	case err != nil:
		return nil, unfit("Its file %q is damaged.", name)
	}
	return data.Bytes(), nil
}

// resolve returns the name in the archive that href means in the file base; empty if
// it is not in the archive, or base itself.
func resolve(base, href string) string {
	name, _ := ocf.Resolve(base, href)
	if name == base {
		return ""
	}
	return name
}

// link returns how the file base refers to the file name.
func link(base, name string) string {
	from, to := strings.Split(path.Dir(base), "/"), strings.Split(name, "/")
	if path.Dir(base) == "." {
		from = nil
	}
	for len(from) > 0 && len(to) > 1 && from[0] == to[0] {
		from, to = from[1:], to[1:]
	}
	for i := range to {
		to[i] = url.PathEscape(to[i])
	}
	return strings.Repeat("../", len(from)) + strings.Join(to, "/")
}
