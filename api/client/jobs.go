package client

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/voicemill/voicemill/api/jobdoc"
	"github.com/voicemill/voicemill/job"
)

// Page is one page of a list. Next is empty on the last one.
type Page[T any] struct {
	Items []T    `json:"items"`
	Next  string `json:"next_cursor"`
}

// SubmitOptions shape a submit.
type SubmitOptions struct {
	IdempotencyKey string        // empty means a fresh one
	Wait           time.Duration // hold the answer for the end of the job, up to a minute
}

// Submit hands in a job. It returns after the job is durable; with Wait the
// document may be of a job that has ended.
func (c *Client) Submit(ctx context.Context, spec *job.Spec, o SubmitOptions) (*jobdoc.Document, error) {
	key := o.IdempotencyKey
	if key == "" {
		var err error
		if key, err = newKey(); err != nil {
			return nil, err
		}
	}
	h := http.Header{"Idempotency-Key": {key}}
	if o.Wait > 0 {
		h.Set("Prefer", "wait="+strconv.Itoa(int(o.Wait.Round(time.Second)/time.Second)))
	}
	var d jobdoc.Document
	_, err := c.do(ctx, call{method: http.MethodPost, path: "/v1/jobs", header: h, body: spec, repeat: true}, &d)
	if err != nil {
		return nil, err
	}
	return &d, nil
}

// Job reads a job.
func (c *Client) Job(ctx context.Context, id job.ID) (*jobdoc.Document, error) {
	d, _, err := c.Poll(ctx, id, PollOptions{})
	return d, err
}

// PollOptions shape a poll.
type PollOptions struct {
	ETag string        // of what the caller has; empty means nothing
	Wait time.Duration // hold the answer for a change, up to a minute
}

// Poll reads a job if it differs from what the caller has: otherwise the
// document is nil and the etag the same.
func (c *Client) Poll(ctx context.Context, id job.ID, o PollOptions) (d *jobdoc.Document, etag string, err error) {
	k := call{method: http.MethodGet, path: jobPath(id, ""), query: url.Values{}, header: http.Header{}, repeat: true}
	if o.ETag != "" {
		k.header.Set("If-None-Match", o.ETag)
	}
	if o.Wait > 0 {
		k.query.Set("wait", strconv.Itoa(int(o.Wait.Round(time.Second)/time.Second)))
	}
	var doc jobdoc.Document
	resp, err := c.do(ctx, k, &doc)
	if err != nil {
		return nil, "", err
	}
	if resp.StatusCode == http.StatusNotModified {
		return nil, o.ETag, nil
	}
	return &doc, resp.Header.Get("ETag"), nil
}

// waitStep is how long one poll of Wait is held.
const waitStep = 30 * time.Second

// Wait returns the job when it has ended. seen, if not nil, is called with every
// new version on the way, the last one included.
func (c *Client) Wait(ctx context.Context, id job.ID, seen func(*jobdoc.Document)) (*jobdoc.Document, error) {
	etag := ""
	for {
		o := PollOptions{ETag: etag}
		if etag != "" {
			o.Wait = waitStep
		}
		d, now, err := c.Poll(ctx, id, o)
		if err != nil {
			return nil, err
		}
		etag = now
		if d == nil {
			continue
		}
		if seen != nil {
			seen(d)
		}
		if d.State.Final() {
			return d, nil
		}
	}
}

// ListOptions choose jobs of a list. Zero fields choose all.
type ListOptions struct {
	Limit         int // of one page, 1 to 100; 0 means 20
	Cursor        string
	States        []job.State
	Class         job.Class
	Labels        map[string]string
	CreatedAfter  time.Time
	CreatedBefore time.Time
}

// Jobs lists jobs, newest first, without their chapters, artifacts and failures.
func (c *Client) Jobs(ctx context.Context, o ListOptions) (*Page[jobdoc.Document], error) {
	q := page(o.Limit, o.Cursor)
	if len(o.States) > 0 {
		q.Set("state", commas(o.States))
	}
	if o.Class != "" {
		q.Set("class", string(o.Class))
	}
	for k, v := range o.Labels {
		q.Add("label", k+":"+v)
	}
	if !o.CreatedAfter.IsZero() {
		q.Set("created_after", o.CreatedAfter.UTC().Format(time.RFC3339Nano))
	}
	if !o.CreatedBefore.IsZero() {
		q.Set("created_before", o.CreatedBefore.UTC().Format(time.RFC3339Nano))
	}
	var p Page[jobdoc.Document]
	_, err := c.do(ctx, call{method: http.MethodGet, path: "/v1/jobs", query: q, repeat: true}, &p)
	return &p, err
}

func page(limit int, cursor string) url.Values {
	q := url.Values{}
	if limit > 0 {
		q.Set("limit", strconv.Itoa(limit))
	}
	if cursor != "" {
		q.Set("cursor", cursor)
	}
	return q
}

func commas[T ~string](list []T) string {
	parts := make([]string, len(list))
	for i, s := range list {
		parts[i] = string(s)
	}
	return strings.Join(parts, ",")
}

// Cancel ends a job. It may be called again, and leaves a job that has ended as it is.
func (c *Client) Cancel(ctx context.Context, id job.ID) (*jobdoc.Document, error) {
	var d jobdoc.Document
	_, err := c.do(ctx, call{method: http.MethodPost, path: jobPath(id, "/cancel"), repeat: true}, &d)
	if err != nil {
		return nil, err
	}
	return &d, nil
}

// Segment is one segment of a job.
type Segment struct {
	N                int              `json:"n"` // reading order, from 1
	Chapter          int              `json:"chapter"`
	Text             string           `json:"text"`
	Voice            string           `json:"voice"`
	Language         string           `json:"language"`
	State            job.SegmentState `json:"state"`
	Attempts         int              `json:"attempts"`
	PredictedSeconds float64          `json:"predicted_seconds"`
	AudioSeconds     float64          `json:"audio_seconds"`
	Verdict          string           `json:"verdict"`
	Error            *jobdoc.Error    `json:"error"`
	Source           *Source          `json:"source"`
}

// Source is where a segment's text stands in the manuscript: bytes of a document.
type Source struct {
	Document string `json:"document"`
	Start    int64  `json:"start"`
	End      int64  `json:"end"`
}

// SegmentOptions choose segments of a list. Zero fields choose all.
type SegmentOptions struct {
	Limit   int // of one page, 1 to 100; 0 means 20
	Cursor  string
	States  []job.SegmentState
	Chapter int
}

// Segments lists the segments of a job in reading order; none until it is planned.
func (c *Client) Segments(ctx context.Context, id job.ID, o SegmentOptions) (*Page[Segment], error) {
	q := page(o.Limit, o.Cursor)
	if len(o.States) > 0 {
		q.Set("state", commas(o.States))
	}
	if o.Chapter > 0 {
		q.Set("chapter", strconv.Itoa(o.Chapter))
	}
	var p Page[Segment]
	_, err := c.do(ctx, call{method: http.MethodGet, path: jobPath(id, "/segments"), query: q, repeat: true}, &p)
	return &p, err
}

// ArtifactURL returns a link to a finished file that works for a while without a key.
func (c *Client) ArtifactURL(ctx context.Context, id job.ID, name string) (string, error) {
	resp, err := c.do(ctx, call{method: http.MethodGet, path: jobPath(id, "/artifacts/"+url.PathEscape(name)), repeat: true}, nil)
	if err != nil {
		return "", err
	}
	link := resp.Header.Get("Location")
	if resp.StatusCode != http.StatusTemporaryRedirect || link == "" {
		return "", fmt.Errorf("the server answered %s without a link to %s", resp.Status, name)
	}
	return link, nil
}

// Artifact opens a finished file. The caller closes the reader. size is in
// bytes, or -1 if it is not known.
func (c *Client) Artifact(ctx context.Context, id job.ID, name string) (r io.ReadCloser, size int64, err error) {
	link, err := c.ArtifactURL(ctx, id, name)
	if err != nil {
		return nil, 0, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, link, nil)
	if err != nil {
		return nil, 0, fmt.Errorf("follow the link to %s: %w", name, err)
	}
	req.Header.Set("User-Agent", c.agent)
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, 0, fmt.Errorf("fetch %s: %w", name, err)
	}
	if resp.StatusCode != http.StatusOK {
		defer func() { _ = resp.Body.Close() }()
		return nil, 0, fmt.Errorf("fetch %s: %w", name, problemOf(resp))
	}
	return resp.Body, resp.ContentLength, nil
}
