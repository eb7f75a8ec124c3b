package plan

import (
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"strings"
	"sync"

	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/scheduler/internal/store"
)

// Uploads gives the bytes of an object in the version named by etag. Its errors
// are *job.Error; reads are bounded by ctx.
type Uploads interface {
	ReaderAt(ctx context.Context, key, etag string) (r io.ReaderAt, size int64, err error)
}

// upload is the input of one job. A reader of documents may take a failed read
// for a broken document; upload remembers the failure, so that a bucket that
// is away does not fail a job.
type upload struct {
	r    io.ReaderAt
	size int64

	mu  sync.Mutex
	err error // the first failure; guarded by mu
}

func openUpload(ctx context.Context, uploads Uploads, c store.Claim) (*upload, error) {
	r, size, err := uploads.ReaderAt(ctx, c.SourceKey, c.SourceETag)
	if err != nil {
		return nil, sourceError(c.ID, err)
	}
	return &upload{r: r, size: size}, nil
}

// ReadAt implements io.ReaderAt.
func (u *upload) ReadAt(p []byte, off int64) (int, error) {
	n, err := u.r.ReadAt(p, off)
	if err != nil && !errors.Is(err, io.EOF) {
		u.mu.Lock()
		defer u.mu.Unlock()
		if u.err == nil {
			u.err = err
		}
	}
	return n, err
}

// digest returns what identifies the document of a job, byte by byte: of its upload u,
// if there is one. Texts that the client cut itself are in the manifest as they came.
func digest(c store.Claim, u *upload) (s store.Source, err error) {
	if c.Spec.Input.Segments != nil {
		return s, nil
	}
	var all io.Reader = strings.NewReader(c.Spec.Input.Text)
	if u != nil {
		all = io.NewSectionReader(u, 0, u.size)
	}
	h := sha256.New()
	if s.Bytes, err = io.Copy(h, all); err != nil {
		return s, sourceError(c.ID, err)
	}
	s.SHA256 = h.Sum(nil)
	return s, nil
}

// failure returns the error of the bucket, or nil.
func (u *upload) failure(id job.ID) error {
	if u == nil {
		return nil
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.err == nil {
		return nil
	}
	return sourceError(id, u.err)
}

// sourceError puts an error of the bucket in the words of the job's owner.
// What is not known to be final is taken for passing.
func sourceError(id job.ID, err error) error {
	e := &job.Error{Op: "plan.upload", JobID: id, Kind: job.KindOf(err), Err: err}
	switch e.Kind {
	case job.NotFound:
		e.Public = "The uploaded document is not there any more; upload it again and submit a new job."
	case job.Conflict:
		e.Kind, e.Public = job.Invalid, "The uploaded document was replaced after the job had been accepted; submit a new job."
	default:
		e.Kind = job.Unavailable
	}
	return e
}
