package manuscript

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/voicemill/voicemill/platform/ocf"
)

// archive is an EPUB's container. It reads what it is asked for and nothing else,
// within the limits.
type archive struct {
	*ocf.Container
	limits Limits
	left   int64 // of Limits.TotalBytes
}

func openArchive(r io.ReaderAt, size int64, limits Limits) (*archive, error) {
	c, err := ocf.Open(r, size)
	if errors.Is(err, ocf.ErrDirectory) {
		return nil, tooLarge("the EPUB has more than %d files", limits.Entries)
	}
	if err != nil {
		return nil, invalidBecause(err, "the document is not an EPUB: it is no readable ZIP archive")
	}
	if c.Entries > limits.Entries {
		return nil, tooLarge("the EPUB has more than %d files", limits.Entries)
	}
	return &archive{Container: c, limits: limits, left: limits.TotalBytes}, nil
}

// has reports whether the archive holds name, in whatever case.
func (a *archive) has(name string) bool { return a.File(name) != nil }

// frameBytes bounds the files that say what is in a book: they are held as
// values of several times their size.
const frameBytes = 8 << 20

// frame is read for such a file.
func (a *archive) frame(name string) ([]byte, error) {
	if f := a.File(name); f != nil && f.UncompressedSize64 > frameBytes {
		return nil, tooLarge("the file %s in the EPUB is larger than %s", shown(name), bytesText(frameBytes))
	}
	return a.read(name)
}

// read returns the content of the file called name, which must exist.
func (a *archive) read(name string) ([]byte, error) {
	f := a.File(name)
	switch {
	case f == nil:
		return nil, invalid("the EPUB lacks the file %s", shown(name))
	case f.Flags&1 != 0:
		return nil, invalid("the file %s in the EPUB is encrypted", shown(name))
	case f.UncompressedSize64 > uint64(a.limits.DocumentBytes): //nolint:gosec // the limit is positive
		return nil, tooLarge("the file %s in the EPUB is larger than %s", shown(name), bytesText(a.limits.DocumentBytes))
	}
	most := min(a.limits.DocumentBytes, a.left)
	if cap := ocf.Cap(f, a.limits.Ratio); cap < most {
		most = cap
	}
	rc, err := f.Open()
	if err != nil {
		return nil, invalidBecause(err, "the file %s in the EPUB cannot be unpacked", shown(name))
	}
	defer rc.Close() //nolint:errcheck // reading
	var buf bytes.Buffer
	buf.Grow(int(min(most, int64(f.UncompressedSize64)) + bytes.MinRead)) //nolint:gosec // bounded by DocumentBytes
	n, err := buf.ReadFrom(io.LimitReader(rc, most+1))
	a.left -= n
	if n > most {
		return nil, a.bomb(name, most)
	}
	if err != nil {
		return nil, invalidBecause(err, "the file %s in the EPUB is damaged", shown(name))
	}
	return buf.Bytes(), nil
}

// bomb names the limit that a file broke.
func (a *archive) bomb(name string, most int64) error {
	switch most {
	case a.limits.DocumentBytes:
		return tooLarge("the file %s in the EPUB is larger than %s", shown(name), bytesText(most))
	case a.limits.TotalBytes, a.left:
		return tooLarge("the EPUB unpacks to more than %s", bytesText(a.limits.TotalBytes))
	}
	if a.left < 0 {
		return tooLarge("the EPUB unpacks to more than %s", bytesText(a.limits.TotalBytes))
	}
	return tooLarge("the file %s in the EPUB is compressed more than %d times, as in a ZIP bomb", shown(name), a.limits.Ratio)
}

func bytesText(n int64) string {
	switch {
	case n >= 1<<30 && n%(1<<30) == 0:
		return fmt.Sprintf("%d GiB", n>>30)
	case n >= 1<<20:
		return fmt.Sprintf("%d MiB", n>>20)
	}
	return fmt.Sprintf("%d bytes", n)
}
