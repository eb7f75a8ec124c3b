// Package ocf opens the container of a foreign EPUB (EPUB Open Container Format 3.3, a ZIP)
// without trusting it: its directory is bounded, names are cleaned, nothing is unpacked
// that was not asked for. How much of a file may be unpacked is the caller's to say.
package ocf

import (
	"archive/zip"
	"errors"
	"fmt"
	"io"
	"net/url"
	"path"
	"strings"
	"sync/atomic"
)

// directoryBytes bounds what opening a container may read, and so how many entries
// a crafted directory can make it allocate.
const directoryBytes = 8 << 20

var (
	// ErrDirectory says that the directory of a container is too large.
	ErrDirectory = errors.New("the directory of the ZIP is too large")
	// ErrFormat says that something is no readable ZIP.
	ErrFormat = errors.New("no readable ZIP archive")
)

// Container is an EPUB's ZIP. It may be used by one goroutine at a time.
type Container struct {
	Entries int         // of the directory, names that come twice counted twice
	Files   []*zip.File // in their order, each name once
	byName  map[string]*zip.File
	folded  map[string]*zip.File
	source  *budget
}

// budget fails once more than it has was read, until it is lifted.
type budget struct {
	r      io.ReaderAt
	left   atomic.Int64
	lifted atomic.Bool
	failed error // of r
}

func (b *budget) ReadAt(p []byte, off int64) (int, error) {
	if !b.lifted.Load() && b.left.Add(-int64(len(p))) < 0 {
		return 0, ErrDirectory
	}
	n, err := b.r.ReadAt(p, off)
	if err != nil && !errors.Is(err, io.EOF) {
		b.failed = err
	}
	return n, err //nolint:wrapcheck // as it was read
}

// Open reads the directory of a container of size bytes. The error is r's own, or wraps
// [ErrFormat] and, if that is why, [ErrDirectory].
func Open(r io.ReaderAt, size int64) (*Container, error) {
	b := &budget{r: r}
	b.left.Store(directoryBytes)
	z, err := zip.NewReader(b, size)
	if b.failed != nil {
		return nil, b.failed
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrFormat, err)
	}
	b.lifted.Store(true)
	c := &Container{Entries: len(z.File), source: b, byName: make(map[string]*zip.File, len(z.File)), folded: make(map[string]*zip.File, len(z.File))}
	for _, f := range z.File {
		name := Clean(f.Name)
		if c.byName[name] != nil {
			continue
		}
		c.Files, c.byName[name] = append(c.Files, f), f
		if low := strings.ToLower(name); c.folded[low] == nil {
			c.folded[low] = f
		}
	}
	return c, nil
}

// File returns the file called name, in whatever case; nil if there is none.
func (c *Container) File(name string) *zip.File {
	if f := c.byName[name]; f != nil {
		return f
	}
	return c.folded[strings.ToLower(name)]
}

// Failed returns why the container's bytes could not be read; nil if they could, so
// that what is wrong is the container's fault.
func (c *Container) Failed() error { return c.source.failed }

// Cap returns how large f may become if it may be compressed ratio times; what is no
// larger than a mebibyte always may.
func Cap(f *zip.File, ratio int64) int64 {
	const free = 1 << 20
	packed := min(f.CompressedSize64, 1<<40)
	return max(free, int64(packed)*ratio) //nolint:gosec // bounded above
}

// Clean is the name of a file as it is looked up: without steps up, and without a
// slash in front.
func Clean(name string) string {
	return strings.TrimPrefix(path.Clean("/"+strings.ReplaceAll(name, `\`, "/")), "/")
}

// Resolve returns the name in the container that href means in the file base, and the
// fragment. An href of a fragment alone means base. External addresses give an empty name.
func Resolve(base, href string) (name, fragment string) {
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
	return Clean(href), fragment
}
