package operation

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/voicemill/voicemill/gateway/internal/problem"
	"github.com/voicemill/voicemill/gateway/internal/store"
	"github.com/voicemill/voicemill/job"
)

// UploadRequest asks for a place for one document.
type UploadRequest struct {
	MediaType string `json:"media_type"`
	Bytes     *int64 `json:"bytes"`
}

func (r *UploadRequest) faults(l job.Limits) (faults job.Faults) {
	known := slices.Concat(job.MediaTypes(), job.CoverTypes())
	if !slices.Contains(known, r.MediaType) {
		faults.Add(job.Fault{
			Pointer: "/media_type", Kind: job.Invalid,
			Detail: fmt.Sprintf("%q cannot be read; known: %s", problem.Clip(r.MediaType), strings.Join(known, ", ")),
		})
	}
	most := r.most(l)
	switch {
	case r.Bytes == nil:
	case *r.Bytes < 1:
		faults.Add(job.Fault{Pointer: "/bytes", Kind: job.Invalid, Detail: "must be positive"})
	case *r.Bytes > most:
		faults.Add(job.Fault{Pointer: "/bytes", Kind: job.TooLarge, Detail: fmt.Sprintf("%d bytes; at most %d", *r.Bytes, most)})
	}
	return faults
}

// most is how many bytes an upload of this type may have.
func (r *UploadRequest) most(l job.Limits) int64 {
	if slices.Contains(job.CoverTypes(), r.MediaType) {
		return min(job.MaxCoverBytes, l.UploadBytes)
	}
	return l.UploadBytes
}

// size returns the bytes that were declared; 0 if none were.
func (r *UploadRequest) size() int64 {
	if r.Bytes == nil {
		return 0
	}
	return *r.Bytes
}

// Place is where one document can be put.
type Place struct {
	store.Upload
	Link   string            // where it is PUT to
	Fields map[string]string // that this needs
}

// CreateUpload makes a place for a document; if the same request came before, it
// returns the place that it made.
func (o *Operations) CreateUpload(ctx context.Context, c *Caller, r *UploadRequest, shape job.Faults, once *Once) (*Place, error) {
	if faults := merge(shape, r.faults(o.cfg.Limits)); faults.Any() {
		return nil, problem.Faulty(faults)
	}
	id, err := o.dep.Store.NewUploadID()
	if err != nil {
		return nil, err
	}
	owner, err := o.claim(ctx, c, once, id)
	if err != nil {
		return nil, err
	}
	u, err := o.upload(ctx, c, owner, owner != id, r)
	if err != nil {
		return nil, err
	}
	// One that a repeated request made long ago may have expired. Its id leads to
	// the job that it became, if that request is repeated, too.
	left := max(time.Until(u.ExpiresAt), time.Second)
	link, fields, err := o.dep.Bucket.PresignPut(ctx, u.ObjectKey, left, u.MediaType, r.size())
	return &Place{Upload: u, Link: link, Fields: fields}, err
}

// upload stores the place; if the same request came before, it returns that one's.
func (o *Operations) upload(ctx context.Context, c *Caller, id string, again bool, r *UploadRequest) (store.Upload, error) {
	if again {
		u, err := o.dep.Store.FindUpload(ctx, c.Tenant, id)
		if err == nil || job.KindOf(err) != job.NotFound {
			return u, err
		}
	}
	u := store.Upload{
		ID: id, MediaType: r.MediaType, MaxBytes: cmp.Or(r.size(), r.most(o.cfg.Limits)),
		ObjectKey: "uploads/" + string(c.Tenant) + "/" + id, ExpiresAt: c.Started.Add(o.cfg.Limits.UploadExpiry),
	}
	// A bucket that is away is found out here, not by the client's PUT.
	if _, err := o.dep.Bucket.Stat(ctx, u.ObjectKey); err != nil && job.KindOf(err) != job.NotFound {
		return u, err
	}
	u, got, err := o.dep.Store.CreateUpload(ctx, c.Tenant, u)
	if err == nil && got.Admitted == 0 {
		err = overQuota(got, time.Now())
	}
	return u, err
}

// FindUpload returns a place that has no document yet and takes one.
func (o *Operations) FindUpload(ctx context.Context, c *Caller, id string) (store.Upload, error) {
	u, err := o.dep.Store.FindUpload(ctx, c.Tenant, id)
	switch {
	case err != nil && job.KindOf(err) == job.NotFound:
		return u, problem.New(problem.NotFound, "There is no such upload.")
	case err != nil:
		return u, err
	case time.Now().After(u.ExpiresAt):
		return u, problem.New(problem.Conflict, "This upload has expired; make another.")
	}
	return u, nil
}

// Vacant refuses a place that has its document.
func (o *Operations) Vacant(ctx context.Context, u *store.Upload) error {
	there, err := o.dep.Bucket.Stat(ctx, u.ObjectKey)
	switch {
	case err == nil:
		return stored(there)
	case job.KindOf(err) != job.NotFound:
		return err
	}
	return nil
}

// PutContent stores the document of an upload for a client that cannot reach the
// bucket: size bytes, or to the end of body if size is negative. It returns how many
// they were. An error of body is in the tree of its own.
func (o *Operations) PutContent(ctx context.Context, u *store.Upload, body io.Reader, size int64) (int64, error) {
	got, existed, err := o.dep.Bucket.Put(ctx, u.ObjectKey, u.MediaType, &bounded{r: body, left: u.MaxBytes}, size)
	switch {
	case errors.Is(err, errTooLong):
		return 0, problem.Newf(problem.UploadTooLarge, "The document has more than %d bytes.", u.MaxBytes)
	case errors.Is(err, errEmpty):
		return 0, problem.New(problem.BadRequest, "The document is empty.")
	case err != nil:
		return 0, err
	case existed:
		return 0, stored(got)
	}
	return got.Size, nil
}

// stored refuses to store a document twice.
func stored(there Object) error {
	return problem.Newf(problem.Conflict, "This upload has its content already: %d bytes.", there.Size)
}

var (
	errTooLong = &job.Error{Op: "operation.PutContent", Kind: job.TooLarge, Err: errors.New("the body is larger than the upload may be")}
	errEmpty   = errors.New("operation: the document is empty")
)

// bounded is a body that must not be empty nor longer than it may.
type bounded struct {
	r    io.Reader
	left int64
	some bool
}

// Read implements [io.Reader].
func (b *bounded) Read(p []byte) (int, error) {
	n, err := b.r.Read(p)
	if b.left -= int64(n); b.left < 0 {
		return 0, errTooLong
	}
	b.some = b.some || n > 0
	if errors.Is(err, io.EOF) && !b.some {
		return 0, errEmpty
	}
	return n, err
}
