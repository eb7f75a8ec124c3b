// Package archive takes single files out of the archives that registries have:
// wheels and zips, and gzipped tars. Archives are foreign bytes: only names that
// were asked for are looked at, nothing is written where the archive says, and
// everything read is bounded.
package archive

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
)

// ErrNoMember says that an archive has no such file.
var ErrNoMember = errors.New("there is no such file in the archive")

// maxUnpacked bounds what is unpacked of a tar to find the files in it.
const maxUnpacked = 8 << 30

// Extract copies the files called members out of the archive f to the writers that
// open returns for them, at most limit bytes of each. A name that is there twice is
// taken once. It is an error if one is missing; what was written until then stands.
func Extract(f *os.File, members []string, limit int64, open func(member string) (io.WriteCloser, error)) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	var magic [4]byte
	if _, err := f.ReadAt(magic[:], 0); err != nil {
		return fmt.Errorf("no archive: %w", err)
	}
	wanted := make(map[string]bool, len(members))
	for _, m := range members {
		wanted[m] = true
	}
	x := extraction{wanted: wanted, limit: limit, open: open}
	if bytes.HasPrefix(magic[:], []byte("PK")) {
		err = x.zip(f, info.Size())
	} else {
		err = x.tar(io.NewSectionReader(f, 0, info.Size()))
	}
	if err != nil {
		return err
	}
	for m := range x.wanted {
		return fmt.Errorf("%s: %w", m, ErrNoMember)
	}
	return nil
}

type extraction struct {
	wanted map[string]bool // what is still to be found
	limit  int64
	open   func(string) (io.WriteCloser, error)
}

func (x *extraction) zip(r io.ReaderAt, size int64) error {
	z, err := zip.NewReader(r, size)
	if err != nil {
		return fmt.Errorf("read the archive: %w", err)
	}
	for _, f := range z.File {
		if !x.wanted[f.Name] {
			continue
		}
		in, err := f.Open()
		if err != nil {
			return fmt.Errorf("read %s: %w", f.Name, err)
		}
		if err := errors.Join(x.take(f.Name, in), in.Close()); err != nil {
			return err
		}
	}
	return nil
}

func (x *extraction) tar(r io.Reader) error {
	unzipped, err := gzip.NewReader(r)
	if err != nil {
		return fmt.Errorf("read the archive: %w", err)
	}
	t := tar.NewReader(io.LimitReader(unzipped, maxUnpacked))
	for len(x.wanted) > 0 {
		h, err := t.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read the archive: %w", err)
		}
		if h.Typeflag != tar.TypeReg || !x.wanted[h.Name] {
			continue
		}
		if err := x.take(h.Name, t); err != nil {
			return err
		}
	}
	return nil
}

func (x *extraction) take(name string, in io.Reader) error {
	delete(x.wanted, name)
	out, err := x.open(name)
	if err != nil {
		return err
	}
	n, err := io.Copy(out, io.LimitReader(in, x.limit+1))
	if err == nil && n > x.limit {
		err = fmt.Errorf("%s has more than %d bytes", name, x.limit)
	}
	if err := errors.Join(err, out.Close()); err != nil {
		return fmt.Errorf("unpack %s: %w", name, err)
	}
	return nil
}
