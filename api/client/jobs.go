package client

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/voicemill/voicemill/api/client/openapi"
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
	body, err := json.Marshal(spec)
	if err != nil {
		return nil, fmt.Errorf("encode the job: %w", err)
	}
	params := openapi.SubmitJobParams{IdempotencyKey: &key}
	if wait := seconds(o.Wait); wait > 0 {
		params.Prefer = new("wait=" + strconv.Itoa(wait))
	}
	var d jobdoc.Document
	_, err = c.repeat(ctx, func(ctx context.Context) (*http.Response, error) {
		return c.api.SubmitJobWithBody(ctx, &params, "application/json", bytes.NewReader(body))
	}, &d)
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
	params := openapi.GetJobParams{IfNoneMatch: given(o.ETag), Wait: given(seconds(o.Wait))}
	var doc jobdoc.Document
	resp, err := c.repeat(ctx, func(ctx context.Context) (*http.Response, error) { return c.api.GetJob(ctx, string(id), &params) }, &doc)
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
	params := openapi.ListJobsParams{
		Limit: given(o.Limit), Cursor: given(o.Cursor), State: list[openapi.JobState](o.States), Class: given(openapi.Class(o.Class)),
	}
	if len(o.Labels) > 0 {
		var labels []string
		for k, v := range o.Labels {
			labels = append(labels, k+":"+v)
		}
		params.Label = &labels
	}
	if !o.CreatedAfter.IsZero() {
		params.CreatedAfter = new(o.CreatedAfter.UTC())
	}
	if !o.CreatedBefore.IsZero() {
		params.CreatedBefore = new(o.CreatedBefore.UTC())
	}
	var p Page[jobdoc.Document]
	_, err := c.repeat(ctx, func(ctx context.Context) (*http.Response, error) { return c.api.ListJobs(ctx, &params) }, &p)
	return &p, err
}

// seconds rounds to what the API counts in.
func seconds(d time.Duration) int { return int(d.Round(time.Second) / time.Second) }

// list is a parameter of several values, sent unless there are none.
func list[To, From ~string](from []From) *[]To {
	if len(from) == 0 {
		return nil
	}
	to := make([]To, len(from))
	for i, v := range from {
		to[i] = To(v)
	}
	return &to
}

// Deliver has the files of a job delivered into its bucket again. It may be repeated.
func (c *Client) Deliver(ctx context.Context, id job.ID) (*jobdoc.Document, error) {
	var d jobdoc.Document
	_, err := c.repeat(ctx, func(ctx context.Context) (*http.Response, error) { return c.api.DeliverJob(ctx, string(id)) }, &d)
	if err != nil {
		return nil, err
	}
	return &d, nil
}

// Cancel ends a job. It may be called again, and leaves a job that has ended as it is.
func (c *Client) Cancel(ctx context.Context, id job.ID) (*jobdoc.Document, error) {
	var d jobdoc.Document
	_, err := c.repeat(ctx, func(ctx context.Context) (*http.Response, error) { return c.api.CancelJob(ctx, string(id)) }, &d)
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
	Verdict          string           `json:"verdict"` // of the ear, or else of the check
	Heard            *string          `json:"heard"`   // nil if it was not heard
	Tries            int              `json:"tries"`   // likewise 0
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
	params := openapi.ListSegmentsParams{
		Limit: given(o.Limit), Cursor: given(o.Cursor), State: list[openapi.SegmentState](o.States), Chapter: given(o.Chapter),
	}
	var p Page[Segment]
	_, err := c.repeat(ctx, func(ctx context.Context) (*http.Response, error) { return c.api.ListSegments(ctx, string(id), &params) }, &p)
	return &p, err
}

// ArtifactURL returns a link to a finished file that works for a while without a key.
func (c *Client) ArtifactURL(ctx context.Context, id job.ID, name string) (string, error) {
	resp, err := c.repeat(ctx, func(ctx context.Context) (*http.Response, error) {
		return c.api.GetArtifact(ctx, string(id), name, nil)
	}, nil)
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

// ProxiedArtifact opens a finished file through the server, for a client that
// cannot reach the bucket. It begins at from: at offset, or at 0 if the server
// gives the whole. The caller closes the reader.
func (c *Client) ProxiedArtifact(ctx context.Context, id job.ID, name string, offset int64) (r io.ReadCloser, from int64, err error) {
	params := openapi.GetArtifactParams{Proxy: new(openapi.GetArtifactParamsProxyN1)}
	if offset > 0 {
		params.Range = new(fmt.Sprintf("bytes=%d-", offset))
	}
	resp, err := c.api.GetArtifact(ctx, string(id), name, &params)
	if err != nil {
		return nil, 0, fmt.Errorf("fetch %s: cannot reach %s: %w", name, c.host, err)
	}
	switch resp.StatusCode {
	case http.StatusOK:
		return resp.Body, 0, nil
	case http.StatusPartialContent:
		return resp.Body, offset, nil
	}
	defer func() { _ = resp.Body.Close() }()
	return nil, 0, fmt.Errorf("fetch %s: %w", name, problemOf(resp))
}

// Timeline opens what is known of when a job's text sounds, as JSON (the schema
// Timeline): of one chapter, or of all if chapter is 0. It is as long as the book. The caller
// closes the reader.
func (c *Client) Timeline(ctx context.Context, id job.ID, chapter int) (io.ReadCloser, error) {
	resp, err := c.api.GetTimeline(ctx, string(id), &openapi.GetTimelineParams{Chapter: given(chapter)})
	if err != nil {
		return nil, fmt.Errorf("read the timeline: cannot reach %s: %w", c.host, err)
	}
	if resp.StatusCode != http.StatusOK {
		defer func() { _ = resp.Body.Close() }()
		return nil, problemOf(resp)
	}
	return resp.Body, nil
}
