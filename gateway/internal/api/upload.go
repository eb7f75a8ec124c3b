package api

import (
	"cmp"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/voicemill/voicemill/api/jobdoc"
	"github.com/voicemill/voicemill/gateway/internal/store"
	"github.com/voicemill/voicemill/job"
)

type uploadRequest struct {
	MediaType string `json:"media_type"`
	Bytes     *int64 `json:"bytes"`
}

func (r *uploadRequest) faults(l job.Limits) (faults job.Faults) {
	if !slices.Contains(job.MediaTypes(), r.MediaType) {
		faults.Add(job.Fault{
			Pointer: "/media_type", Kind: job.Invalid,
			Detail: fmt.Sprintf("%q cannot be read; known: %s", clip(r.MediaType), strings.Join(job.MediaTypes(), ", ")),
		})
	}
	switch {
	case r.Bytes == nil:
	case *r.Bytes < 1:
		faults.Add(job.Fault{Pointer: "/bytes", Kind: job.Invalid, Detail: "must be positive"})
	case *r.Bytes > l.UploadBytes:
		faults.Add(job.Fault{Pointer: "/bytes", Kind: job.TooLarge, Detail: fmt.Sprintf("%d bytes; at most %d", *r.Bytes, l.UploadBytes)})
	}
	return faults
}

// size returns the bytes that were declared; 0 if none were.
func (r *uploadRequest) size() int64 {
	if r.Bytes == nil {
		return 0
	}
	return *r.Bytes
}

type uploadDocument struct {
	ID        string            `json:"id"`
	URL       string            `json:"url"`
	Content   string            `json:"content_url"`
	Method    string            `json:"method"`
	Headers   map[string]string `json:"headers"`
	MediaType string            `json:"media_type"`
	MaxBytes  int64             `json:"max_bytes"`
	ExpiresAt jobdoc.Time       `json:"expires_at"`
}

func (a *API) createUpload(c *Call) {
	var r uploadRequest
	faults, ok := decode(a, c, a.uploads, &r)
	if !ok {
		return
	}
	if faults = merge(faults, r.faults(a.cfg.Limits)); faults.Any() {
		a.refuseFaults(c, faults)
		return
	}
	id, err := a.dep.Store.NewUploadID()
	if err != nil {
		a.fail(c, err)
		return
	}
	owner, ok := a.claim(c, id)
	if !ok {
		return
	}
	u, err := a.upload(c, owner, owner != id, &r)
	if err != nil {
		a.fail(c, err)
		return
	}
	a.presign(c, u, r.size())
}

// upload stores the place for a document; if the same request came before, the
// place that it got.
func (a *API) upload(c *Call, id string, again bool, r *uploadRequest) (store.Upload, error) {
	ctx, tenant := c.Context(), c.Identity.Tenant
	if again {
		u, err := a.dep.Store.FindUpload(ctx, tenant, id)
		if err == nil || job.KindOf(err) != job.NotFound {
			return u, err
		}
	}
	u := store.Upload{
		ID: id, MediaType: r.MediaType, MaxBytes: cmp.Or(r.size(), a.cfg.Limits.UploadBytes),
		ObjectKey: "uploads/" + string(tenant) + "/" + id, ExpiresAt: c.Started.Add(a.cfg.Limits.UploadExpiry),
	}
	// A bucket that is away is found out here, not by the client's PUT.
	if _, err := a.dep.Bucket.Stat(ctx, u.ObjectKey); err != nil && job.KindOf(err) != job.NotFound {
		return u, err
	}
	return a.dep.Store.CreateUpload(ctx, tenant, u)
}

func (a *API) presign(c *Call, u store.Upload, size int64) {
	// One that a repeated request made long ago may have expired. Its id leads to
	// the job that it became, if that request is repeated, too.
	left := max(time.Until(u.ExpiresAt), time.Second)
	link, fields, err := a.dep.Bucket.PresignPut(c.Context(), u.ObjectKey, left, u.MediaType, size)
	if err != nil {
		a.fail(c, err)
		return
	}
	a.reply(c, http.StatusCreated, &uploadDocument{
		ID: u.ID, URL: link, Content: "/v1/uploads/" + u.ID + "/content", Method: http.MethodPut, Headers: fields,
		MediaType: u.MediaType, MaxBytes: u.MaxBytes, ExpiresAt: jobdoc.Time{Time: u.ExpiresAt},
	})
}
