package api

import (
	"io"
	"mime"
	"net/http"
	"strconv"

	"github.com/voicemill/voicemill/gateway/internal/store"
	"github.com/voicemill/voicemill/job"
)

// copyBytes is how much of an artifact is carried at a time.
const copyBytes = 32 << 10

// getArtifact leads to an artifact in the bucket or, with ?proxy=1, gives it.
func (a *API) getArtifact(c *Call) {
	id, _, ok := a.owned(c)
	if !ok {
		return
	}
	q, ok := a.query(c, "proxy")
	if !ok {
		return
	}
	if q.Has("proxy") && q.Get("proxy") != "1" {
		a.refuse(c, badRequest, "proxy can be 1 or left out.")
		return
	}
	ctx, name := c.Context(), c.params[1]
	found, err := a.dep.Store.FindArtifact(ctx, c.Identity.Tenant, id, name)
	if job.KindOf(err) == job.NotFound && err != nil {
		a.refuse(c, notFound, "This job has no artifact of that name (yet).")
		return
	}
	if err != nil {
		a.fail(c, err)
		return
	}
	// A link to a bucket that is away would only move the failure to the client.
	there, err := a.dep.Bucket.Stat(ctx, found.ObjectKey)
	if err != nil {
		if job.KindOf(err) == job.NotFound {
			err = &job.Error{Op: "api.getArtifact", JobID: id, Kind: job.Internal, Err: err} // a row names an object that is gone
		}
		a.fail(c, err)
		return
	}
	if q.Has("proxy") {
		a.proxy(c, found, there, name)
		return
	}
	link, err := a.dep.Bucket.PresignGet(ctx, found.ObjectKey, a.cfg.PresignExpiry, name)
	if err != nil {
		a.fail(c, err)
		return
	}
	c.Reply(&Answer{Status: http.StatusTemporaryRedirect, Location: link})
}

// proxy answers with an object, or the part of it that is asked for.
func (a *API) proxy(c *Call, found store.Artifact, there Object, name string) {
	x, ok := c.Exchange.(Streamable)
	if !ok {
		a.refuse(c, badRequest, "This call needs a request of its own over HTTP.")
		return
	}
	answer := &Answer{
		Status: http.StatusOK, ContentType: found.MediaType, ETag: `"` + there.ETag + `"`, AcceptRanges: true,
		Disposition: mime.FormatMediaType("attachment", map[string]string{"filename": name}),
	}
	if field := c.Header("if-none-match"); field != nil && names(field, answer.ETag) {
		c.Reply(&Answer{Status: http.StatusNotModified, ETag: answer.ETag})
		return
	}
	part := span{0, there.Size}
	if c.Method() == http.MethodGet && unchanged(c.Header("if-range"), answer.ETag) {
		switch wanted, verdict := parseRange(c.Header("range"), there.Size); verdict {
		case rangeNone:
		case rangePart:
			part, answer.Status, answer.ContentRange = wanted, http.StatusPartialContent, wanted.field(there.Size)
		case rangeWrong:
			refusal := a.problem(c, badRange, "The range does not overlap the file.")
			refusal.ContentRange = "bytes */" + strconv.FormatInt(there.Size, 10)
			c.Reply(refusal)
			return
		}
	}
	a.carry(c, x, func() { a.give(c, x, answer, found.ObjectKey, there.ETag, part) })
}

// give sends part of an object as fast as the client takes it.
func (a *API) give(c *Call, x Streamable, answer *Answer, key, etag string, part span) {
	if c.Method() == http.MethodHead || part.length == 0 {
		if out := x.Begin(answer, part.length); out != nil {
			out.End(nil)
		}
		return
	}
	r, err := a.dep.Bucket.Get(c.Context(), key, etag, part.offset, part.length)
	if err != nil {
		a.fail(c, err)
		return
	}
	defer func() { _ = r.Close() }()
	out := x.Begin(answer, part.length)
	if out == nil {
		return
	}
	ended := false
	defer func() {
		if !ended {
			out.End(errPanic)
		}
	}()
	n, err := io.CopyBuffer(out, io.LimitReader(r, part.length), make([]byte, copyBytes))
	if err == nil && n < part.length {
		err = io.ErrUnexpectedEOF
	}
	ended = true
	out.End(err)
}

// unchanged reports whether a condition on a Range holds: there is none, or it
// is this entity tag. A date never holds, because none is given out.
func unchanged(ifRange []byte, etag string) bool { return ifRange == nil || string(ifRange) == etag }
