package cli

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"unicode/utf8"

	"github.com/voicemill/voicemill/job"
)

// maxInline is the largest text that goes into the request itself. Escaped as
// JSON it still fits the server's limit of 1 MiB for a body.
const maxInline = 128 << 10

// document is what the user hands in, with a known size and readable again
// from the start when an upload has to be repeated.
type document struct {
	*os.File
	name string
	size int64
}

// openDocument opens name. Standard input is spooled into a file without a
// name, because storage wants to know the size first.
func openDocument(name string, stdin io.Reader) (_ *document, err error) {
	d := &document{name: name}
	if name == stdinName {
		d.name = "standard input"
		d.File, err = spool(stdin)
	} else {
		d.File, err = os.Open(name)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil, usagef("there is no file %s", name)
	}
	if err != nil {
		return nil, &ExitError{Code: ExitUsage, Err: err}
	}
	info, err := d.Stat()
	if err == nil {
		d.size = info.Size()
		limit := job.DefaultLimits().UploadBytes
		switch {
		case !info.Mode().IsRegular():
			err = usagef("%s is not a file; pipe it into `voicemill submit -`", d.name)
		case d.size == 0:
			err = usagef("%s is empty", d.name)
		case d.size > limit:
			err = usagef("%s has %d bytes; at most %d can be handed in", d.name, d.size, limit)
		}
	}
	if err != nil {
		return nil, errors.Join(err, d.Close())
	}
	return d, nil
}

func spool(stdin io.Reader) (*os.File, error) {
	f, err := os.CreateTemp("", "voicemill-*")
	if err != nil {
		return nil, fmt.Errorf("keep standard input: %w", err)
	}
	_, err = io.Copy(f, io.LimitReader(stdin, job.DefaultLimits().UploadBytes+1))
	if err = errors.Join(err, os.Remove(f.Name())); err != nil {
		return nil, fmt.Errorf("keep standard input: %w", errors.Join(err, f.Close()))
	}
	return f, nil
}

// inline returns the text itself if it may go into the request: it is small,
// not an archive, and JSON can carry it as it is.
func (d *document) inline(media string) (text string, ok bool, err error) {
	if media == job.MediaEPUB || d.size > maxInline {
		return "", false, nil
	}
	b, err := io.ReadAll(io.NewSectionReader(d, 0, d.size))
	if err != nil {
		return "", false, fmt.Errorf("read %s: %w", d.name, err)
	}
	if !utf8.Valid(b) {
		return "", false, nil
	}
	return string(b), true, nil
}
