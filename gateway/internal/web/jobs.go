package web

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/voicemill/voicemill/api/jobdoc"
	"github.com/voicemill/voicemill/gateway/internal/operation"
	"github.com/voicemill/voicemill/gateway/internal/problem"
	"github.com/voicemill/voicemill/gateway/internal/store"
	"github.com/voicemill/voicemill/gateway/internal/strictjson"
	"github.com/voicemill/voicemill/job"
)

func submitJob(ctx context.Context, c *Call) (*Answer, error) {
	var s operation.Submission
	var err error
	if s.Faults, err = decode(c, c.s.specs, &s.Spec); err != nil {
		return nil, err
	}
	s.Once, s.Wait = c.once(), c.preferredWait()
	done, err := c.s.ops.Submit(ctx, &c.caller, &s)
	if err != nil {
		return nil, err
	}
	a := &Answer{
		Status: http.StatusAccepted, ContentType: contentJSON, Job: &done.Job, ETag: operation.Tag(&done.Job),
		Location: jobPath + string(done.Job.ID),
	}
	if done.Waited {
		a.Preference = "wait=" + strconv.Itoa(int(s.Wait/time.Second))
		if done.Job.State.Final() {
			a.Status = http.StatusOK
		}
	}
	return a, nil
}

// decode reads the body into v and returns what is wrong with it against the
// type of v. The error says that it is no JSON, or of another type.
func decode[T any](c *Call, schema *strictjson.Schema[T], v *T) (job.Faults, error) {
	if !c.sends(contentJSON) {
		return job.Faults{}, problem.New(problem.MediaType, "Send the body as Content-Type: application/json.")
	}
	if enc := c.Header("content-encoding"); len(enc) > 0 && c.plain == nil && !strings.EqualFold(string(enc), "identity") {
		return job.Faults{}, problem.New(problem.MediaType, "Send the body plain or with Content-Encoding: gzip.")
	}
	faults, err := schema.Decode(c.Body(), v)
	if syntax, ok := errors.AsType[*strictjson.SyntaxError](err); ok {
		return job.Faults{}, problem.New(problem.NotJSON, "The body is "+syntax.Error()+".")
	}
	return faults, nil
}

// sends reports whether the body is of a media type, in UTF-8.
func (c *Call) sends(want string) bool {
	media, params, err := mime.ParseMediaType(string(c.Header("content-type")))
	charset := params["charset"]
	return err == nil && media == want && (charset == "" || strings.EqualFold(charset, "utf-8"))
}

// once says which request this is, if it has an Idempotency-Key: the call and the
// exact body. No call that takes a key has a parameter in its path, which would have
// to be here, too.
func (c *Call) once() operation.Once {
	key := c.Header("idempotency-key")
	if key == nil {
		return operation.Once{}
	}
	h := sha256.New()
	h.Write([]byte(c.Method() + " " + c.route.pattern + "\n"))
	h.Write(c.Body())
	return operation.Once{Given: true, Key: string(key), Request: [sha256.Size]byte(h.Sum(nil))}
}

// preferredWait reads Prefer: wait=N (RFC 7240). A preference that is not understood
// is ignored.
func (c *Call) preferredWait() time.Duration {
	for part := range strings.SplitSeq(string(c.Header("prefer")), ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(part), "=")
		if !strings.EqualFold(strings.TrimSpace(name), "wait") {
			continue
		}
		seconds, err := strconv.Atoi(strings.Trim(strings.TrimSpace(value), `"`))
		if err == nil && seconds > 0 {
			return min(time.Duration(seconds)*time.Second, c.s.cfg.MaxWait.Truncate(time.Second))
		}
	}
	return 0
}

func getJob(ctx context.Context, c *Call) (*Answer, error) {
	q, err := c.query("wait")
	if err != nil {
		return nil, err
	}
	id := job.ID(c.params[0])
	field := c.Header("if-none-match")
	if !q.Has("wait") {
		d, err := c.s.ops.Get(ctx, &c.caller, id)
		if err != nil {
			return nil, err
		}
		if field != nil && names(field, d.ETag) {
			return &Answer{Status: http.StatusNotModified, ETag: d.ETag}, nil
		}
		return &Answer{Status: http.StatusOK, ContentType: contentJSON, Body: d.Body, ETag: d.ETag}, nil
	}
	seconds, err := whole(q.Get("wait"))
	if err != nil || seconds > int(c.s.cfg.MaxWait/time.Second) {
		return nil, problem.Newf(problem.BadRequest, "wait must be a whole number of seconds from 0 to %d.", int(c.s.cfg.MaxWait/time.Second))
	}
	var seen func(tag string) bool
	if field != nil {
		seen = func(tag string) bool { return names(field, tag) }
	}
	d, err := c.s.ops.Poll(ctx, &c.caller, id, time.Duration(seconds)*time.Second, seen)
	if err != nil {
		return nil, err
	}
	if seen != nil && seen(operation.Tag(d)) {
		return &Answer{Status: http.StatusNotModified, ETag: operation.Tag(d)}, nil
	}
	return documentOf(d), nil
}

func documentOf(d *jobdoc.Document) *Answer {
	return &Answer{Status: http.StatusOK, ContentType: contentJSON, Job: d, ETag: operation.Tag(d)}
}

func cancelJob(ctx context.Context, c *Call) (*Answer, error) {
	d, err := c.s.ops.Cancel(ctx, &c.caller, job.ID(c.params[0]))
	if err != nil {
		return nil, err
	}
	return documentOf(d), nil
}

func deliverJob(ctx context.Context, c *Call) (*Answer, error) {
	d, err := c.s.ops.Deliver(ctx, &c.caller, job.ID(c.params[0]))
	if err != nil {
		return nil, err
	}
	return documentOf(d), nil
}

// list is one page.
type list[T any] struct {
	Items []T    `json:"items"`
	Next  string `json:"next_cursor,omitempty"`
}

const maxLabelFilters = 16

func listJobs(ctx context.Context, c *Call) (*Answer, error) {
	q, err := c.query("limit", "cursor", "state", "label", "class", "created_after", "created_before")
	if err != nil {
		return nil, err
	}
	after, limit, err := page(q)
	if err != nil {
		return nil, err
	}
	f, err := jobFilter(q)
	if err != nil {
		return nil, err
	}
	items, next, err := c.s.ops.List(ctx, &c.caller, f, after, limit)
	if err != nil {
		return nil, err
	}
	return reply(http.StatusOK, &list[jobdoc.Document]{Items: items, Next: next}), nil
}

func jobFilter(q url.Values) (f store.JobFilter, err error) {
	if f.States, err = choices(q, "state", job.States()); err != nil {
		return f, err
	}
	classes, err := choices(q, "class", []job.Class{job.Interactive, job.Bulk})
	if err != nil {
		return f, err
	}
	if len(classes) == 1 {
		f.Class = classes[0]
	}
	if len(q["label"]) > maxLabelFilters {
		return f, problem.Newf(problem.BadRequest, "label may be given %d times.", maxLabelFilters)
	}
	for _, label := range q["label"] {
		key, value, found := strings.Cut(label, ":")
		if !found || key == "" {
			return f, problem.New(problem.BadRequest, "label must be key:value.")
		}
		if f.Labels == nil {
			f.Labels = map[string]string{}
		}
		f.Labels[key] = value
	}
	if f.CreatedAfter, err = moment(q, "created_after"); err != nil {
		return f, err
	}
	f.CreatedBefore, err = moment(q, "created_before")
	return f, err
}

func moment(q url.Values, name string) (*time.Time, error) {
	if !q.Has(name) {
		return nil, nil //nolint:nilnil // none was given
	}
	t, err := time.Parse(time.RFC3339Nano, q.Get(name))
	if err != nil {
		return nil, problem.New(problem.BadRequest, name+" must be a time such as 2026-12-01T06:00:00Z.")
	}
	return &t, nil
}

// segment is one segment in an answer.
type segment struct {
	N                int              `json:"n"`
	Chapter          int              `json:"chapter"`
	Text             string           `json:"text"`
	Voice            string           `json:"voice"`
	Language         string           `json:"language"`
	State            job.SegmentState `json:"state"`
	Attempts         int              `json:"attempts"`
	PredictedSeconds float64          `json:"predicted_seconds"`
	AudioSeconds     float64          `json:"audio_seconds,omitempty"`
	Verdict          string           `json:"verdict,omitempty"`
	Heard            *string          `json:"heard,omitempty"`
	Tries            int              `json:"tries,omitempty"`
	Error            *jobdoc.Error    `json:"error,omitempty"`
	Source           *source          `json:"source,omitempty"`
}

type source struct {
	Document string `json:"document"`
	Start    int64  `json:"start"`
	End      int64  `json:"end"`
}

func listSegments(ctx context.Context, c *Call) (*Answer, error) {
	q, err := c.query("limit", "cursor", "state", "chapter")
	if err != nil {
		return nil, err
	}
	limit, err := pageSize(q)
	if err != nil {
		return nil, err
	}
	most := c.s.cfg.Limits.Segments
	after, err := segmentCursor(q, most)
	if err != nil {
		return nil, err
	}
	f, err := segmentFilter(q, most)
	if err != nil {
		return nil, err
	}
	found, more, err := c.s.ops.Segments(ctx, &c.caller, job.ID(c.params[0]), f, after, limit)
	if err != nil {
		return nil, err
	}
	page := list[segment]{Items: make([]segment, 0, len(found))}
	for _, g := range found {
		page.Items = append(page.Items, segmentOf(g))
	}
	if more {
		page.Next = base64.RawURLEncoding.EncodeToString([]byte(strconv.Itoa(found[limit-1].N)))
	}
	return reply(http.StatusOK, &page), nil
}

func segmentOf(g store.Segment) segment {
	s := segment{
		N: g.N, Chapter: g.Chapter, Text: g.Text, Voice: g.Voice, Language: g.Language, State: g.State, Attempts: g.Attempts,
		PredictedSeconds: g.PredictedSeconds, AudioSeconds: g.AudioSeconds, Verdict: g.Verdict, Heard: g.Heard, Tries: g.Tries,
	}
	if g.ErrorKind != "" {
		s.Error = &jobdoc.Error{Kind: g.ErrorKind, Detail: g.ErrorDetail}
	}
	if g.End > g.Start {
		s.Source = &source{Document: g.Document, Start: g.Start, End: g.End}
	}
	return s
}

func segmentCursor(q url.Values, most int) (after int, err error) {
	if !q.Has("cursor") {
		return 0, nil
	}
	raw, err := base64.RawURLEncoding.DecodeString(q.Get("cursor"))
	if err == nil {
		after, err = strconv.Atoi(string(raw))
	}
	if err != nil || after < 0 || after > most {
		return 0, badCursor()
	}
	return after, nil
}

func segmentFilter(q url.Values, most int) (f store.SegmentFilter, err error) {
	f.States, err = choices(q, "state", []job.SegmentState{
		job.SegmentPending, job.SegmentReleased, job.SegmentDone, job.SegmentReused, job.SegmentFailed, job.SegmentCancelled,
	})
	if err != nil || !q.Has("chapter") {
		return f, err
	}
	f.Chapter, err = whole(q.Get("chapter"))
	if err != nil || f.Chapter < 1 || f.Chapter > most {
		return f, problem.New(problem.BadRequest, "chapter must be a positive whole number.")
	}
	return f, nil
}
