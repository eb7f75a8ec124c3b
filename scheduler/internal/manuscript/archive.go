package manuscript

import (
	"archive/zip"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/url"
	"path"
	"strings"
	"sync/atomic"
)

// archive is an EPUB's ZIP. It reads what it is asked for and nothing else,
// within the limits.
type archive struct {
	limits Limits
	files  map[string]*zip.File // by exact name
	folded map[string]*zip.File // by name in lower case
	left   int64                // of Limits.TotalBytes
}

// directoryBudget bounds what opening a ZIP may read, and so how many entries
// a crafted directory can make the reader allocate.
const directoryBudget = 8 << 20

var errDirectory = errors.New("the directory of the ZIP is too large")

// budgetReader fails once more than its budget was read, until it is lifted.
type budgetReader struct {
	r      io.ReaderAt
	left   atomic.Int64
	lifted atomic.Bool
}

func (b *budgetReader) ReadAt(p []byte, off int64) (int, error) {
	if !b.lifted.Load() && b.left.Add(-int64(len(p))) < 0 {
		return 0, errDirectory
	}
	return b.r.ReadAt(p, off)
}

func openArchive(r io.ReaderAt, size int64, limits Limits) (*archive, error) {
	budget := &budgetReader{r: r}
	budget.left.Store(directoryBudget)
	z, err := zip.NewReader(budget, size)
	if errors.Is(err, errDirectory) {
		return nil, tooLarge("the EPUB has more than %d files", limits.Entries)
	}
	if err != nil {
		return nil, invalidBecause(err, "the document is not an EPUB: it is no readable ZIP archive")
	}
	budget.lifted.Store(true)
	if len(z.File) > limits.Entries {
		return nil, tooLarge("the EPUB has more than %d files", limits.Entries)
	}
	a := &archive{limits: limits, files: make(map[string]*zip.File, len(z.File)), folded: make(map[string]*zip.File, len(z.File)), left: limits.TotalBytes}
	for _, f := range z.File {
		name := strings.TrimPrefix(path.Clean("/"+strings.ReplaceAll(f.Name, `\`, "/")), "/")
		if _, twice := a.files[name]; !twice {
			a.files[name] = f
		}
		if low := strings.ToLower(name); a.folded[low] == nil {
			a.folded[low] = f
		}
	}
	return a, nil
}

// has reports whether the archive holds name, in whatever case.
func (a *archive) has(name string) bool { return a.file(name) != nil }

func (a *archive) file(name string) *zip.File {
	if f := a.files[name]; f != nil {
		return f
	}
	return a.folded[strings.ToLower(name)]
}

// frameBytes bounds the files that say what is in a book: they are held as
// values of several times their size.
const frameBytes = 8 << 20

// frame is read for such a file.
func (a *archive) frame(name string) ([]byte, error) {
	if f := a.file(name); f != nil && f.UncompressedSize64 > frameBytes {
		return nil, tooLarge("the file %s in the EPUB is larger than %s", shown(name), bytesText(frameBytes))
	}
	return a.read(name)
}

// read returns the content of the file called name, which must exist.
func (a *archive) read(name string) ([]byte, error) {
	f := a.file(name)
	switch {
	case f == nil:
		return nil, invalid("the EPUB lacks the file %s", shown(name))
	case f.Flags&1 != 0:
		return nil, invalid("the file %s in the EPUB is encrypted", shown(name))
	case f.UncompressedSize64 > uint64(a.limits.DocumentBytes): //nolint:gosec // the limit is positive
		return nil, tooLarge("the file %s in the EPUB is larger than %s", shown(name), bytesText(a.limits.DocumentBytes))
	}
	most := min(a.limits.DocumentBytes, a.left)
	if cap := a.ratioCap(f); cap < most {
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

// ratioCap returns how large f may become by its compressed size.
func (a *archive) ratioCap(f *zip.File) int64 {
	const free = 1 << 20
	packed := min(f.CompressedSize64, 1<<40)
	return max(free, int64(packed)*a.limits.Ratio) //nolint:gosec // bounded above
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

// resolve returns the name in the archive that href means in the file base,
// and the fragment. External addresses give an empty name.
func resolve(base, href string) (name, fragment string) {
	href, fragment, _ = strings.Cut(strings.TrimSpace(href), "#")
	if f, err := url.PathUnescape(fragment); err == nil {
		fragment = f
	}
	href, _, _ = strings.Cut(href, "?")
	if href == "" {
		return base, fragment
	}
	if scheme, _, ok := strings.Cut(href, ":"); ok && !strings.ContainsAny(scheme, "/%") {
		return "", fragment
	}
	if unescaped, err := url.PathUnescape(href); err == nil {
		href = unescaped
	}
	href = strings.ReplaceAll(href, `\`, "/")
	if !strings.HasPrefix(href, "/") {
		href = path.Join(path.Dir(base), href)
	}
	return strings.TrimPrefix(path.Clean("/"+href), "/"), fragment
}
