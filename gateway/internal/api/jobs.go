package api

import (
	"context"
	"encoding/base64"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/voicemill/voicemill/api/jobdoc"
	"github.com/voicemill/voicemill/gateway/internal/store"
	"github.com/voicemill/voicemill/job"
)

// list is one page.
type list[T any] struct {
	Items []T    `json:"items"`
	Next  string `json:"next_cursor,omitempty"`
}

const maxLabelFilters = 16

func (a *API) listJobs(c *Call) {
	q, ok := a.query(c, "limit", "cursor", "state", "label", "class", "created_after", "created_before")
	if !ok {
		return
	}
	after, limit, ok := a.page(c, q)
	if !ok {
		return
	}
	f, ok := a.jobFilter(c, q)
	if !ok {
		return
	}
	rows, err := a.dep.Store.ListJobs(c.Context(), c.Identity.Tenant, f, after, limit+1)
	if err != nil {
		a.fail(c, err)
		return
	}
	page := list[jobdoc.Document]{Items: []jobdoc.Document{}}
	if len(rows) > limit {
		rows = rows[:limit]
		last := rows[limit-1]
		page.Next = store.Cursor{At: last.AcceptedAt, ID: last.ID}.String()
	}
	now := time.Now()
	for i := range rows {
		d, err := jobdoc.Build(&rows[i], now)
		if err != nil {
			a.fail(c, err)
			return
		}
		a.dep.Documents.Seen(&d)
		page.Items = append(page.Items, d)
	}
	a.reply(c, http.StatusOK, &page)
}

func (a *API) jobFilter(c *Call, q url.Values) (f store.JobFilter, ok bool) {
	if f.States, ok = choices(a, c, q, "state", job.States()); !ok {
		return f, false
	}
	classes, ok := choices(a, c, q, "class", []job.Class{job.Interactive, job.Bulk})
	if !ok {
		return f, false
	}
	if len(classes) == 1 {
		f.Class = classes[0]
	}
	if len(q["label"]) > maxLabelFilters {
		a.refuse(c, badRequest, fmt.Sprintf("label may be given %d times.", maxLabelFilters))
		return f, false
	}
	for _, label := range q["label"] {
		key, value, found := strings.Cut(label, ":")
		if !found || key == "" {
			a.refuse(c, badRequest, "label must be key:value.")
			return f, false
		}
		if f.Labels == nil {
			f.Labels = map[string]string{}
		}
		f.Labels[key] = value
	}
	if f.CreatedAfter, ok = a.moment(c, q, "created_after"); !ok {
		return f, false
	}
	f.CreatedBefore, ok = a.moment(c, q, "created_before")
	return f, ok
}

func (a *API) moment(c *Call, q url.Values, name string) (at *time.Time, ok bool) {
	if !q.Has(name) {
		return nil, true
	}
	t, err := time.Parse(time.RFC3339Nano, q.Get(name))
	if err != nil {
		a.refuse(c, badRequest, name+" must be a time such as 2026-12-01T06:00:00Z.")
		return nil, false
	}
	return &t, true
}

func (a *API) cancelJob(c *Call) {
	id, minted, ok := a.owned(c)
	if !ok {
		return
	}
	ctx, tenant := c.Context(), c.Identity.Tenant
	if err := a.cancel(ctx, tenant, id); err != nil {
		a.fail(c, err)
		return
	}
	d, err := a.document(ctx, tenant, id, minted)
	if err != nil {
		a.fail(c, err)
		return
	}
	c.Reply(&Answer{Status: http.StatusOK, ContentType: contentJSON, Job: &d, ETag: etag(&d)})
}

// cancel cancels a job. Once begun it is finished even if ctx ends.
func (a *API) cancel(ctx context.Context, tenant job.Tenant, id job.ID) error {
	ctx = context.WithoutCancel(ctx)
	done, err := a.dep.Store.CancelJob(ctx, tenant, id)
	a.dep.Documents.Forget(id) // even after an error, which may hide a commit
	if err != nil {
		return err
	}
	if done.Changed || done.Early { // early ones have version 0
		a.dep.Bus.Hint(id, done.Version)
	}
	a.purge(ctx, id, done)
	a.dep.Hub.Hint(id)
	return nil
}

// purge takes a cancelled job's messages out of WORK, as far as they can be
// found. A worker that has one already finds the segment cancelled.
func (a *API) purge(ctx context.Context, id job.ID, done store.Cancelled) {
	if !done.Released {
		return
	}
	if err := a.dep.Bus.PurgeJob(ctx, id); err != nil {
		a.dep.Log.LogAttrs(ctx, slog.LevelInfo, "work of a cancelled job not purged", slog.String("job_id", string(id)), slog.Any("error", err))
	}
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
	Error            *jobdoc.Error    `json:"error,omitempty"`
	Source           *source          `json:"source,omitempty"`
}

type source struct {
	Document string `json:"document"`
	Start    int64  `json:"start"`
	End      int64  `json:"end"`
}

func (a *API) listSegments(c *Call) {
	id, _, ok := a.owned(c)
	if !ok {
		return
	}
	q, ok := a.query(c, "limit", "cursor", "state", "chapter")
	if !ok {
		return
	}
	limit, ok := a.limit(c, q)
	if !ok {
		return
	}
	after, ok := a.segmentCursor(c, q)
	if !ok {
		return
	}
	f, ok := a.segmentFilter(c, q)
	if !ok {
		return
	}
	found, err := a.dep.Store.ListSegments(c.Context(), id, f, after, limit+1)
	if err != nil {
		a.fail(c, err)
		return
	}
	page := list[segment]{Items: []segment{}}
	if len(found) > limit {
		found = found[:limit]
		page.Next = base64.RawURLEncoding.EncodeToString([]byte(strconv.Itoa(found[limit-1].N)))
	}
	for _, g := range found {
		page.Items = append(page.Items, segmentOf(g))
	}
	a.reply(c, http.StatusOK, &page)
}

func segmentOf(g store.Segment) segment {
	s := segment{
		N: g.N, Chapter: g.Chapter, Text: g.Text, Voice: g.Voice, Language: g.Language, State: g.State, Attempts: g.Attempts,
		PredictedSeconds: g.PredictedSeconds, AudioSeconds: g.AudioSeconds, Verdict: g.Verdict,
	}
	if g.ErrorKind != "" {
		s.Error = &jobdoc.Error{Kind: g.ErrorKind, Detail: g.ErrorDetail}
	}
	if g.End > g.Start {
		s.Source = &source{Document: g.Document, Start: g.Start, End: g.End}
	}
	return s
}

func (a *API) segmentCursor(c *Call, q url.Values) (after int, ok bool) {
	if !q.Has("cursor") {
		return 0, true
	}
	raw, err := base64.RawURLEncoding.DecodeString(q.Get("cursor"))
	if err == nil {
		after, err = strconv.Atoi(string(raw))
	}
	if err != nil || after < 0 || after > a.cfg.Limits.Segments {
		a.refuse(c, badRequest, "cursor is not one that a list returned.")
		return 0, false
	}
	return after, true
}

func (a *API) segmentFilter(c *Call, q url.Values) (f store.SegmentFilter, ok bool) {
	f.States, ok = choices(a, c, q, "state", []job.SegmentState{
		job.SegmentPending, job.SegmentReleased, job.SegmentDone, job.SegmentReused, job.SegmentFailed, job.SegmentCancelled,
	})
	if !ok || !q.Has("chapter") {
		return f, ok
	}
	n, err := strconv.Atoi(q.Get("chapter"))
	if err != nil || n < 1 || n > a.cfg.Limits.Segments {
		a.refuse(c, badRequest, "chapter must be a positive whole number.")
		return f, false
	}
	f.Chapter = n
	return f, true
}
