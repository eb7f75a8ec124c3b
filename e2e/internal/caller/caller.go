package caller

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/api/apitest"
	"github.com/voicemill/voicemill/api/jobdoc"
	"github.com/voicemill/voicemill/platform/lifecycle"
)

// Server is whom a Caller calls. Both may change while it is used.
type Server interface {
	URL() string
	Key() string
}

// Caller sends requests and holds every exchange with the server against the
// contract. It is safe for concurrent use.
type Caller struct {
	server Server
	http   *http.Client
}

// New returns a Caller of s. What is not as the contract says fails its call with
// an [apitest.ContractError], and t.
func New(t *testing.T, s Server) *Caller {
	t.Helper()
	contract, err := apitest.Load(t.Context())
	require.NoError(t, err)
	return &Caller{server: s, http: &http.Client{Timeout: 2 * time.Minute, Transport: &apitest.Transport{
		Contract: contract, Base: &http.Transport{DisableKeepAlives: true},
		Of:     func(r *http.Request) bool { return strings.HasPrefix(r.URL.String(), s.URL()) },
		Report: func(violation error) { t.Error(violation) },
	}}}
}

// Answer is what came back.
type Answer struct {
	Status int
	Header http.Header
	Body   []byte
}

// Problem is a problem document (RFC 9457).
type Problem struct {
	Type      string  `json:"type"`
	Title     string  `json:"title"`
	Status    int     `json:"status"`
	Detail    string  `json:"detail"`
	RequestID string  `json:"request_id"`
	Errors    []Fault `json:"errors"`
}

// Fault is one thing wrong with a request.
type Fault struct {
	Pointer string `json:"pointer"`
	Detail  string `json:"detail"`
}

// Problem reads the body as a complete problem document.
func (a Answer) Problem() (Problem, error) {
	var p Problem
	if got := a.Header.Get("Content-Type"); got != "application/problem+json" {
		return p, fmt.Errorf("the answer %d has the type %q: %s", a.Status, got, a.Body)
	}
	if err := json.Unmarshal(a.Body, &p); err != nil {
		return p, fmt.Errorf("read the problem in %q: %w", a.Body, err)
	}
	if p.Type == "" || p.Title == "" || p.Detail == "" || p.RequestID == "" || p.Status != a.Status {
		return p, fmt.Errorf("the problem document for status %d is not complete: %s", a.Status, a.Body)
	}
	return p, nil
}

// Do sends one request; header is name, value, … An empty value is none; an
// Authorization replaces the server's key.
func (c *Caller) Do(ctx context.Context, method, path string, body []byte, header ...string) (Answer, error) {
	req, err := http.NewRequestWithContext(ctx, method, c.server.URL()+path, bytes.NewReader(body))
	if err != nil {
		return Answer{}, err
	}
	req.Header.Set("Authorization", "Bearer "+c.server.Key())
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i+1 < len(header); i += 2 {
		if header[i+1] != "" {
			req.Header.Set(header[i], header[i+1])
		}
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return Answer{}, err
	}
	defer func() { _ = resp.Body.Close() }()
	raw, err := io.ReadAll(resp.Body)
	return Answer{Status: resp.StatusCode, Header: resp.Header, Body: raw}, err
}

const retryEvery = 50 * time.Millisecond

// Insist repeats a request, which must bear it, until it is answered with
// something other than "later".
func (c *Caller) Insist(ctx context.Context, method, path string, body []byte, header ...string) (Answer, error) {
	for {
		a, err := c.Do(ctx, method, path, body, header...)
		if _, ok := errors.AsType[*apitest.ContractError](err); ok {
			return a, err
		}
		if err == nil && a.Status != http.StatusServiceUnavailable && a.Status != http.StatusTooManyRequests {
			return a, nil
		}
		if !lifecycle.Sleep(ctx, retryEvery) {
			return a, fmt.Errorf("%s %s: last answer %d %s: %w", method, path, a.Status, a.Body, errors.Join(err, context.Cause(ctx)))
		}
	}
}

// expect is Insist for one status, whose body it reads into v.
func (c *Caller) expect(ctx context.Context, status int, v any, method, path string, body []byte, header ...string) error {
	a, err := c.Insist(ctx, method, path, body, header...)
	if err != nil {
		return err
	}
	if a.Status != status {
		return fmt.Errorf("%s %s: status %d, not %d: %s", method, path, a.Status, status, a.Body)
	}
	if err := json.Unmarshal(a.Body, v); err != nil {
		return fmt.Errorf("%s %s: read the answer: %w", method, path, err)
	}
	return nil
}

// Submit hands a job in, once if there is an idempotency key.
func (c *Caller) Submit(ctx context.Context, key string, spec map[string]any) (jobdoc.Document, error) {
	var doc jobdoc.Document
	body, err := json.Marshal(spec)
	if err != nil {
		return doc, err
	}
	return doc, c.expect(ctx, http.StatusAccepted, &doc, http.MethodPost, "/v1/jobs", body, "Idempotency-Key", key)
}

// Job returns the document of an accepted job; anything but a document is an error.
func (c *Caller) Job(ctx context.Context, id string) (jobdoc.Document, error) {
	var doc jobdoc.Document
	return doc, c.expect(ctx, http.StatusOK, &doc, http.MethodGet, "/v1/jobs/"+id, nil)
}

// Cancel cancels a job and returns its document.
func (c *Caller) Cancel(ctx context.Context, id string) (jobdoc.Document, error) {
	var doc jobdoc.Document
	return doc, c.expect(ctx, http.StatusOK, &doc, http.MethodPost, "/v1/jobs/"+id+"/cancel", nil)
}

// Until polls until done says so, and returns that document.
func (c *Caller) Until(ctx context.Context, id string, done func(jobdoc.Document) bool) (jobdoc.Document, error) {
	for {
		doc, err := c.Job(ctx, id)
		if err != nil || done(doc) {
			return doc, err
		}
		if !lifecycle.Sleep(ctx, retryEvery) {
			return doc, fmt.Errorf("job %s is still %s (%+v): %w", id, doc.State, doc.Progress, context.Cause(ctx))
		}
	}
}

// Await polls until the job is final.
func (c *Caller) Await(ctx context.Context, id string) (jobdoc.Document, error) {
	return c.Until(ctx, id, func(d jobdoc.Document) bool { return d.State.Final() })
}

// Artifact downloads one file.
func (c *Caller) Artifact(ctx context.Context, id, name string) ([]byte, error) {
	a, err := c.Insist(ctx, http.MethodGet, "/v1/jobs/"+id+"/artifacts/"+name, nil)
	if err != nil {
		return nil, err
	}
	if a.Status != http.StatusOK {
		return nil, fmt.Errorf("artifact %s of %s: status %d: %s", name, id, a.Status, a.Body)
	}
	return a.Body, nil
}

// Place is where an upload goes.
type Place struct {
	ID      string            `json:"id"`
	URL     string            `json:"url"`
	Method  string            `json:"method"`
	Headers map[string]string `json:"headers"`
}

// NewUpload asks for a place; header is as for [Caller.Do].
func (c *Caller) NewUpload(ctx context.Context, media string, header ...string) (Place, error) {
	var p Place
	body, err := json.Marshal(map[string]string{"media_type": media})
	if err != nil {
		return p, err
	}
	return p, c.expect(ctx, http.StatusCreated, &p, http.MethodPost, "/v1/uploads", body, header...)
}

// Fill puts a document into its place.
func (c *Caller) Fill(ctx context.Context, p Place, data []byte) error {
	req, err := http.NewRequestWithContext(ctx, p.Method, p.URL, bytes.NewReader(data))
	if err != nil {
		return err
	}
	for name, value := range p.Headers {
		req.Header.Set(name, value)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		raw, err := io.ReadAll(resp.Body)
		return errors.Join(fmt.Errorf("upload %s: status %d: %s", p.ID, resp.StatusCode, raw), err)
	}
	return nil
}

// Upload uploads a document and returns its id.
func (c *Caller) Upload(ctx context.Context, media string, data []byte, header ...string) (string, error) {
	p, err := c.NewUpload(ctx, media, header...)
	if err != nil {
		return "", err
	}
	return p.ID, c.Fill(ctx, p, data)
}

// Segment is one segment as the API lists it.
type Segment struct {
	N            int     `json:"n"`
	Chapter      int     `json:"chapter"`
	Text         string  `json:"text"`
	Voice        string  `json:"voice"`
	Language     string  `json:"language"`
	State        string  `json:"state"`
	AudioSeconds float64 `json:"audio_seconds"`
	Source       *Source `json:"source"`
}

// Source is a byte range of a document.
type Source struct {
	Document string `json:"document"`
	Start    int64  `json:"start"`
	End      int64  `json:"end"`
}

// Segments lists all segments of a job, page by page.
func (c *Caller) Segments(ctx context.Context, id string) ([]Segment, error) {
	var all []Segment
	for cursor := ""; ; {
		var page struct {
			Items []Segment `json:"items"`
			Next  string    `json:"next_cursor"`
		}
		path := "/v1/jobs/" + id + "/segments?limit=7"
		if cursor != "" {
			path += "&cursor=" + cursor
		}
		if err := c.expect(ctx, http.StatusOK, &page, http.MethodGet, path, nil); err != nil {
			return nil, err
		}
		all = append(all, page.Items...)
		if cursor = page.Next; cursor == "" {
			return all, nil
		}
	}
}
