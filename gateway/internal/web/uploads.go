package web

import (
	"context"
	"errors"
	"mime"
	"net/http"
	"strconv"

	"github.com/voicemill/voicemill/api/jobdoc"
	"github.com/voicemill/voicemill/gateway/internal/operation"
	"github.com/voicemill/voicemill/gateway/internal/problem"
)

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

func createUpload(ctx context.Context, c *Call) (*Answer, error) {
	var r operation.UploadRequest
	shape, err := decode(c, c.s.uploads, &r)
	if err != nil {
		return nil, err
	}
	once := c.once()
	p, err := c.s.ops.CreateUpload(ctx, &c.caller, &r, shape, &once)
	if err != nil {
		return nil, err
	}
	return reply(http.StatusCreated, &uploadDocument{
		ID: p.ID, URL: p.Link, Content: "/v1/uploads/" + p.ID + "/content", Method: http.MethodPut, Headers: p.Fields,
		MediaType: p.MediaType, MaxBytes: p.MaxBytes, ExpiresAt: jobdoc.Time{Time: p.ExpiresAt},
	}), nil
}

// contentDocument says what was stored.
type contentDocument struct {
	ID        string `json:"id"`
	MediaType string `json:"media_type"`
	Bytes     int64  `json:"bytes"`
}

// putContent stores the document of an upload. All that can be checked is checked
// before the body is asked for.
func putContent(ctx context.Context, c *Call) (*Answer, error) {
	u, err := c.s.ops.FindUpload(ctx, &c.caller, c.params[0])
	if err != nil {
		return nil, err
	}
	media, _, err := mime.ParseMediaType(string(c.Header("content-type")))
	if err != nil || media != u.MediaType || c.Header("content-encoding") != nil {
		return nil, problem.New(problem.MediaType, "Send the document plain, as Content-Type: "+u.MediaType+".")
	}
	size, err := c.contentLength(u.MaxBytes)
	if err != nil {
		return nil, err
	}
	if err := c.s.ops.Vacant(ctx, &u); err != nil {
		return nil, err
	}
	stored, err := c.s.ops.PutContent(ctx, &u, c.reader(), size)
	if p, ok := errors.AsType[*problem.Error](err); ok {
		return nil, p // why the body could not be read to its end
	}
	if err != nil {
		return nil, err
	}
	return reply(http.StatusCreated, &contentDocument{ID: u.ID, MediaType: u.MediaType, Bytes: stored}), nil
}

// contentLength reads the length of the body; -1 says that it is chunked.
func (c *Call) contentLength(most int64) (int64, error) {
	field := c.Header("content-length")
	switch {
	case field != nil:
	case c.Header("transfer-encoding") != nil:
		return -1, nil
	default: // no body at all (RFC 9112 section 6.3), most likely a client that does not know
		return 0, problem.New(problem.LengthRequired, "Say how long the document is with Content-Length, or send it in chunks.")
	}
	size, err := strconv.ParseInt(string(field), 10, 64)
	switch {
	case err != nil || size == 0:
		return 0, problem.New(problem.BadRequest, "The document is empty.")
	case size > most:
		return 0, problem.Newf(problem.UploadTooLarge, "The document has %d bytes; at most %d.", size, most)
	}
	return size, nil
}
