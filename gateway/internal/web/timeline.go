package web

import (
	"context"
	"errors"
	"net/http"

	"github.com/voicemill/voicemill/gateway/internal/operation"
	"github.com/voicemill/voicemill/gateway/internal/problem"
	"github.com/voicemill/voicemill/gateway/internal/timeline"
	"github.com/voicemill/voicemill/job"
)

// manifestName is the artifact that a timeline is read from.
const manifestName = "manifest.json"

// getTimeline answers with what a job's manifest says of times, as it is read.
func getTimeline(ctx context.Context, c *Call) (*Answer, error) {
	q, err := c.query("chapter")
	if err != nil {
		return nil, err
	}
	chapter := 0
	if q.Has("chapter") {
		chapter, err = whole(q.Get("chapter"))
		if err != nil || chapter < 1 || chapter > c.s.cfg.Limits.Segments {
			return nil, problem.New(problem.BadRequest, "chapter must be a positive whole number.")
		}
	}
	id := job.ID(c.params[0])
	if err := c.s.ops.Owns(&c.caller, id); err != nil {
		return nil, err
	}
	found, err := c.s.ops.FindArtifact(ctx, &c.caller, id, manifestName)
	if p, ok := errors.AsType[*problem.Error](err); ok && p.Slug == problem.NotFound {
		return nil, problem.New(problem.NotFound, "This job has no timeline (yet): it is there when a job has ended, for as long as its text is kept.")
	}
	if err != nil {
		return nil, err
	}
	a := &Answer{Status: http.StatusOK, ContentType: contentJSON, ETag: `W/"` + found.ETag + `"`}
	if field := c.Header("if-none-match"); field != nil && names(field, a.ETag) {
		return &Answer{Status: http.StatusNotModified, ETag: a.ETag}, nil
	}
	done, err := c.carry()
	if err != nil {
		return nil, err
	}
	defer done()
	return nil, c.giveTimeline(ctx, found, a, chapter)
}

// giveTimeline sends the timeline as fast as the client takes it. Whether the
// chapter is there is known before the answer begins.
func (c *Call) giveTimeline(ctx context.Context, manifest *operation.Artifact, a *Answer, chapter int) error {
	r, err := c.s.ops.OpenArtifact(ctx, manifest, 0, manifest.Size)
	if err != nil {
		return err
	}
	defer func() { _ = r.Close() }()
	t, err := timeline.Open(r, chapter)
	if errors.Is(err, timeline.ErrNoChapter) {
		return problem.Newf(problem.NotFound, "This job has no chapter %d.", chapter)
	}
	if err != nil {
		return err
	}
	out := c.Begin(a, -1)
	if out == nil {
		return errLeft
	}
	end := errPanic // unless it gets to its end
	defer func() { out.End(end) }()
	if end = nil; c.Method() != http.MethodHead {
		end = t.Write(out)
	}
	return nil
}
