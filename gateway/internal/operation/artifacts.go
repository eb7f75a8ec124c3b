package operation

import (
	"context"
	"io"

	"github.com/voicemill/voicemill/gateway/internal/problem"
	"github.com/voicemill/voicemill/gateway/internal/store"
	"github.com/voicemill/voicemill/job"
)

// Artifact is a finished file of a job, as it is in the bucket.
type Artifact struct {
	store.Artifact
	Object
	Name string
}

// FindArtifact returns an artifact that is there.
func (o *Operations) FindArtifact(ctx context.Context, c *Caller, id job.ID, name string) (*Artifact, error) {
	if _, err := o.minted(c, id); err != nil {
		return nil, err
	}
	found, err := o.dep.Store.FindArtifact(ctx, c.Tenant, id, name)
	if err != nil {
		if job.KindOf(err) == job.NotFound {
			return nil, problem.New(problem.NotFound, "This job has no artifact of that name (yet).")
		}
		return nil, err
	}
	// A link to a bucket that is away would only move the failure to the client.
	there, err := o.dep.Bucket.Stat(ctx, found.ObjectKey)
	if err != nil {
		if job.KindOf(err) == job.NotFound {
			err = &job.Error{Op: "operation.FindArtifact", JobID: id, Kind: job.Internal, Err: err} // a row names an object that is gone
		}
		return nil, err
	}
	return &Artifact{Artifact: found, Object: there, Name: name}, nil
}

// LinkArtifact returns a link under which the artifact can be had for a while.
func (o *Operations) LinkArtifact(ctx context.Context, a *Artifact) (string, error) {
	return o.dep.Bucket.PresignGet(ctx, a.ObjectKey, o.cfg.PresignExpiry, a.Name)
}

// OpenArtifact reads length bytes of the artifact from offset on.
func (o *Operations) OpenArtifact(ctx context.Context, a *Artifact, offset, length int64) (io.ReadCloser, error) {
	return o.dep.Bucket.Get(ctx, a.ObjectKey, a.ETag, offset, length)
}
