package plan

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"

	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/platform/blob"
	"github.com/voicemill/voicemill/scheduler/internal/picture"
	"github.com/voicemill/voicemill/scheduler/internal/store"
)

// Covers is where covers are stored.
type Covers interface {
	// Put stores size bytes of r under key.
	Put(ctx context.Context, key string, r io.Reader, size int64, opt blob.PutOptions) (blob.Info, error)
}

// cover stores the cover of a job as a file of it: the one that the request names,
// else its document's own, which may be nil. It returns nil if there is none. Should the
// plan not be stored, its cover is found in the bucket as an orphan.
func (p *Planner) cover(ctx context.Context, c store.Claim, own []byte) (*store.Cover, error) {
	raw, err := p.named(ctx, c)
	if err != nil {
		return nil, err
	}
	if raw == nil {
		raw = own
	}
	if raw == nil {
		return nil, nil //nolint:nilnil // a book need not have one
	}
	media, err := picture.Type(raw)
	if err != nil {
		return nil, err
	}
	unique, err := job.NewToken("", p.deps.Random)
	if err != nil {
		return nil, &job.Error{Op: "plan.cover", JobID: c.ID, Kind: job.Unavailable, Err: err}
	}
	name := "cover.jpg"
	if media == job.MediaPNG {
		name = "cover.png"
	}
	sum := sha256.Sum256(raw)
	f := &store.Cover{Name: name, MediaType: media, ObjectKey: fmt.Sprintf("jobs/%s/%s/%s/%s", c.Tenant, c.ID, unique, name), Bytes: int64(len(raw)), SHA256: sum[:]}
	if _, err := p.deps.Covers.Put(ctx, f.ObjectKey, bytes.NewReader(raw), f.Bytes, blob.PutOptions{ContentType: media}); err != nil {
		return nil, &job.Error{Op: "plan.cover", JobID: c.ID, Kind: job.Unavailable, Err: err}
	}
	return f, nil
}

// named reads the cover that a request names; nil if it names none.
func (p *Planner) named(ctx context.Context, c store.Claim) ([]byte, error) {
	m := c.Spec.Output.Metadata
	if m == nil || m.Cover == "" {
		return nil, nil
	}
	gone := &job.Error{Op: "plan.cover", JobID: c.ID, Kind: job.NotFound, Public: "The uploaded cover is not there any more; upload it again and submit a new job."}
	if c.CoverKey == "" {
		return nil, gone
	}
	r, size, err := p.deps.Uploads.ReaderAt(ctx, c.CoverKey, "")
	if job.KindOf(err) == job.NotFound {
		return nil, gone
	}
	if err != nil {
		return nil, &job.Error{Op: "plan.cover", JobID: c.ID, Kind: job.Unavailable, Err: err}
	}
	raw := make([]byte, min(size, job.MaxCoverBytes+1))
	if _, err := io.ReadFull(io.NewSectionReader(r, 0, size), raw); err != nil {
		return nil, &job.Error{Op: "plan.cover", JobID: c.ID, Kind: job.Unavailable, Err: err}
	}
	return raw, nil
}
