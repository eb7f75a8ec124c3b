package client

import (
	"context"
	"fmt"
	"io"
	"net/http"

	"github.com/voicemill/voicemill/api/client/openapi"
	"github.com/voicemill/voicemill/api/jobdoc"
)

// Upload is a place to PUT one document to.
type Upload struct {
	ID         string            `json:"id"`
	URL        string            `json:"url"`
	ContentURL string            `json:"content_url"` // takes the same PUT, through the API
	Method     string            `json:"method"`
	Headers    map[string]string `json:"headers"`
	MediaType  string            `json:"media_type"`
	MaxBytes   int64             `json:"max_bytes"`
	ExpiresAt  jobdoc.Time       `json:"expires_at"`
}

// CreateUpload asks for a place to upload a document to. size is in bytes, or
// not positive if it is not known.
func (c *Client) CreateUpload(ctx context.Context, mediaType string, size int64) (*Upload, error) {
	key, err := newKey()
	if err != nil {
		return nil, err
	}
	return c.CreateUploadOnce(ctx, key, mediaType, size)
}

// CreateUploadOnce is CreateUpload with an idempotency key of the caller's: the
// same key for the same document leads to the same place, so that a command
// that is repeated does not make a second one.
func (c *Client) CreateUploadOnce(ctx context.Context, key, mediaType string, size int64) (*Upload, error) {
	params := openapi.CreateUploadParams{IdempotencyKey: &key}
	body := openapi.CreateUploadJSONRequestBody{MediaType: openapi.UploadType(mediaType), Bytes: given(max(0, size))}
	var u Upload
	_, err := c.repeat(ctx, func(ctx context.Context) (*http.Response, error) { return c.api.CreateUpload(ctx, &params, body) }, &u)
	if err != nil {
		return nil, err
	}
	return &u, nil
}

// Put streams r, which has exactly size bytes, to the place. It is not tried
// again: r has been read. The place is filled once: a Conflict says that it was.
func (c *Client) Put(ctx context.Context, u *Upload, r io.Reader, size int64) error {
	if size < 0 {
		return fmt.Errorf("upload %s: the size of the document must be known", u.ID)
	}
	req, err := http.NewRequestWithContext(ctx, u.Method, u.URL, io.NopCloser(r))
	if err != nil {
		return fmt.Errorf("upload %s: %w", u.ID, err)
	}
	if size == 0 {
		req.Body = http.NoBody
	}
	req.ContentLength = size
	for name, value := range u.Headers {
		req.Header.Set(name, value)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return fmt.Errorf("upload %s: %w", u.ID, err)
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode == http.StatusPreconditionFailed {
		return &Problem{Type: "/problems/conflict", Title: "Conflict", Status: http.StatusConflict, Detail: "The upload " + u.ID + " has its content already."}
	}
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		return fmt.Errorf("upload %s: %w", u.ID, problemOf(resp))
	}
	return nil
}

// PutContent is Put through the server, for a client that cannot reach the bucket.
// A refusal comes before r is read, if the transport waits for it
// ([http.Transport.ExpectContinueTimeout]). Content is stored once: a Conflict
// says that it is there, or that the upload has expired.
func (c *Client) PutContent(ctx context.Context, u *Upload, r io.Reader, size int64) error {
	if size < 0 {
		return fmt.Errorf("upload %s: the size of the document must be known", u.ID)
	}
	body := io.NopCloser(r)
	if size == 0 {
		body = http.NoBody
	}
	_, err := c.do(ctx, func(ctx context.Context) (*http.Response, error) {
		return c.api.PutUploadContentWithBody(ctx, u.ID, u.MediaType, body, func(_ context.Context, req *http.Request) error {
			req.ContentLength = size
			req.Header.Set("Expect", "100-continue")
			return nil
		})
	}, nil)
	if err != nil {
		return fmt.Errorf("upload %s: %w", u.ID, err)
	}
	return nil
}

// Upload creates an upload, streams r to it and returns its id for job.Input.
func (c *Client) Upload(ctx context.Context, mediaType string, r io.Reader, size int64) (id string, err error) {
	u, err := c.CreateUpload(ctx, mediaType, size)
	if err != nil {
		return "", err
	}
	return u.ID, c.Put(ctx, u, r, size)
}
