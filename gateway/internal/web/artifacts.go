package web

import (
	"context"
	"io"
	"mime"
	"net/http"
	"strconv"

	"github.com/voicemill/voicemill/gateway/internal/operation"
	"github.com/voicemill/voicemill/gateway/internal/problem"
	"github.com/voicemill/voicemill/job"
)

// copyBytes is how much of an artifact is carried at a time.
const copyBytes = 32 << 10

// getArtifact leads to an artifact in the bucket or, with ?proxy=1, gives it.
func getArtifact(ctx context.Context, c *Call) (*Answer, error) {
	q, err := c.query("proxy")
	if err != nil {
		return nil, err
	}
	if q.Has("proxy") && q.Get("proxy") != "1" {
		return nil, problem.New(problem.BadRequest, "proxy can be 1 or left out.")
	}
	found, err := c.s.ops.FindArtifact(ctx, &c.caller, job.ID(c.params[0]), c.params[1])
	if err != nil {
		return nil, err
	}
	if q.Has("proxy") {
		return c.proxy(ctx, found)
	}
	link, err := c.s.ops.LinkArtifact(ctx, found)
	if err != nil {
		return nil, err
	}
	return &Answer{Status: http.StatusTemporaryRedirect, Location: link}, nil
}

// proxy answers with an artifact, or the part of it that is asked for.
func (c *Call) proxy(ctx context.Context, found *operation.Artifact) (*Answer, error) {
	a := &Answer{
		Status: http.StatusOK, ContentType: found.MediaType, ETag: `"` + found.ETag + `"`, AcceptRanges: true,
		Disposition: mime.FormatMediaType("attachment", map[string]string{"filename": found.Name}),
	}
	if field := c.Header("if-none-match"); field != nil && names(field, a.ETag) {
		return &Answer{Status: http.StatusNotModified, ETag: a.ETag}, nil
	}
	part := span{0, found.Size}
	if c.Method() == http.MethodGet && unchanged(c.Header("if-range"), a.ETag) {
		switch wanted, verdict := parseRange(c.Header("range"), found.Size); verdict {
		case rangeNone:
		case rangePart:
			part, a.Status, a.ContentRange = wanted, http.StatusPartialContent, wanted.field(found.Size)
		case rangeWrong:
			refusal := c.refusal(problem.New(problem.BadRange, "The range does not overlap the file."))
			refusal.ContentRange = "bytes */" + strconv.FormatInt(found.Size, 10)
			return refusal, nil
		}
	}
	done, err := c.carry()
	if err != nil {
		return nil, err
	}
	defer done()
	return nil, c.give(ctx, found, a, part)
}

// give sends part of an artifact as fast as the client takes it.
func (c *Call) give(ctx context.Context, found *operation.Artifact, a *Answer, part span) error {
	if c.Method() == http.MethodHead || part.length == 0 {
		if out := c.Begin(a, part.length); out != nil {
			out.End(nil)
		}
		return nil
	}
	r, err := c.s.ops.OpenArtifact(ctx, found, part.offset, part.length)
	if err != nil {
		return err
	}
	defer func() { _ = r.Close() }()
	out := c.Begin(a, part.length)
	if out == nil {
		return errLeft
	}
	end := errPanic // unless it gets to its end
	defer func() { out.End(end) }()
	var n int64
	n, end = io.CopyBuffer(out, io.LimitReader(r, part.length), make([]byte, copyBytes))
	if end == nil && n < part.length {
		end = io.ErrUnexpectedEOF
	}
	return nil
}

// unchanged reports whether a condition on a Range holds: there is none, or it
// is this entity tag. A date never holds, because none is given out.
func unchanged(ifRange []byte, etag string) bool { return ifRange == nil || string(ifRange) == etag }
