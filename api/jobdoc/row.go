package jobdoc

import (
	_ "embed" // for the statement
	"encoding/json"
	"fmt"
	"time"

	"github.com/voicemill/voicemill/job"
)

//go:embed select_job.sql
var selectJob string

// SelectJob returns the statement that reads one job by id ($1) with its
// chapters, artifacts and first failures in one snapshot, in the order of
// [Row.Targets].
func SelectJob() string { return selectJob }

// Row is what [SelectJob] reads. The lists are JSON as Postgres aggregates them.
type Row struct {
	ID, Tenant, Class, State                                    string
	Version                                                     int64
	Labels                                                      []byte
	Title, Language                                             string
	SegmentsTotal, SegmentsDone, SegmentsReused, SegmentsFailed int
	ChaptersTotal, ChaptersReady                                int
	Characters                                                  int64
	PredictedSeconds, DoneSeconds                               float64
	AudioSeconds, ReusedSeconds, GPUSeconds                     float64
	ErrorKind, ErrorDetail                                      *string
	AcceptedAt                                                  time.Time
	StartedAt, FinishedAt                                       *time.Time
	Chapters, Artifacts, Failures, Waiting, Quality, Delivery   []byte
	ETA, ETALow, ETAHigh                                        *time.Time // as the scheduler foresees it
	FirstAt, FirstETA, FirstLow, FirstHigh                      *time.Time // what it said first, and when
}

// Targets returns the addresses to scan one row of [SelectJob] into.
func (r *Row) Targets() []any {
	return append(r.SummaryTargets(), &r.Chapters, &r.Artifacts, &r.Failures, &r.Waiting, &r.Quality, &r.Delivery,
		&r.ETA, &r.ETALow, &r.ETAHigh, &r.FirstAt, &r.FirstETA, &r.FirstLow, &r.FirstHigh)
}

// SummaryTargets returns the addresses of everything but the lists, for
// statements that read many jobs and leave the lists out.
func (r *Row) SummaryTargets() []any {
	return []any{
		&r.ID, &r.Tenant, &r.Class, &r.State, &r.Version, &r.Labels, &r.Title, &r.Language,
		&r.SegmentsTotal, &r.SegmentsDone, &r.SegmentsReused, &r.SegmentsFailed, &r.ChaptersTotal, &r.ChaptersReady,
		&r.Characters, &r.PredictedSeconds, &r.DoneSeconds, &r.AudioSeconds, &r.ReusedSeconds, &r.GPUSeconds,
		&r.ErrorKind, &r.ErrorDetail, &r.AcceptedAt, &r.StartedAt, &r.FinishedAt,
	}
}

// Build turns a row into the document as of now. now only shapes the estimates.
func Build(r *Row, now time.Time) (Document, error) {
	d := Document{
		ID: job.ID(r.ID), State: job.State(r.State), Version: r.Version, Class: job.Class(r.Class),
		Labels: map[string]string{}, Title: r.Title, Language: r.Language,
		Progress: Progress{
			Segments:     SegmentCounts{Total: r.SegmentsTotal, Done: r.SegmentsDone, Reused: r.SegmentsReused, Failed: r.SegmentsFailed},
			Chapters:     ChapterCounts{Total: r.ChaptersTotal, Ready: r.ChaptersReady},
			AudioSeconds: r.AudioSeconds,
		},
		Usage:     Usage{Characters: r.Characters, AudioSeconds: r.AudioSeconds, GPUSeconds: r.GPUSeconds, ReusedSeconds: r.ReusedSeconds},
		CreatedAt: Time{r.AcceptedAt}, StartedAt: timeOf(r.StartedAt), FinishedAt: timeOf(r.FinishedAt),
	}
	if r.ErrorKind != nil {
		d.Error = &Error{Kind: *r.ErrorKind}
		if r.ErrorDetail != nil {
			d.Error.Detail = *r.ErrorDetail
		}
	}
	for name, part := range map[string]struct {
		raw  []byte
		into any
	}{
		"labels": {r.Labels, &d.Labels}, "chapters": {r.Chapters, &d.Chapters},
		"artifacts": {r.Artifacts, &d.Artifacts}, "failures": {r.Failures, &d.Failures}, "waiting": {r.Waiting, &d.Waiting},
		"quality": {r.Quality, &d.Quality}, "delivery": {r.Delivery, &d.Delivery},
	} {
		if len(part.raw) == 0 {
			continue
		}
		if err := json.Unmarshal(part.raw, part.into); err != nil {
			return Document{}, fmt.Errorf("read the %s of job %s: %w", name, r.ID, err)
		}
	}
	d.Progress.Fraction = fraction(r)
	if r.FirstAt != nil {
		d.Estimate = &Estimate{At: Time{*r.FirstAt}, ETA: Time{*r.FirstETA}, ETALow: Time{*r.FirstLow}, ETAHigh: Time{*r.FirstHigh}}
	}
	switch {
	case d.State.Final() || d.Waiting != nil && d.Waiting.Reason == Paused:
	case r.ETA != nil:
		d.Progress.ETA, d.Progress.ETALow, d.Progress.ETAHigh = latest(*r.ETA, now), latest(*r.ETALow, now), latest(*r.ETAHigh, now)
	default:
		estimate(&d.Progress, r, now)
	}
	return d, nil
}

// latest returns what is expected, which is not before now.
func latest(t, now time.Time) *Time {
	if t.Before(now) {
		t = now
	}
	return &Time{t}
}

func timeOf(t *time.Time) *Time {
	if t == nil {
		return nil
	}
	return &Time{*t}
}

func fraction(r *Row) float64 {
	switch {
	case job.State(r.State) == job.StateSucceeded, job.State(r.State) == job.StatePartial:
		return 1
	case r.PredictedSeconds <= 0:
		return 0
	}
	return min(1, max(0, r.DoneSeconds/r.PredictedSeconds))
}

// Below this share of the work the speed seen so far says too little.
const minFraction = 0.02

// estimate is for a job of which the scheduler has said nothing: it extrapolates from the share done since the job started. The
// interval narrows as the job goes on: half as long again at the start, a
// twentieth near the end.
func estimate(p *Progress, r *Row, now time.Time) {
	running := job.State(r.State) == job.StateRunning || job.State(r.State) == job.StateAssembling
	if !running || r.StartedAt == nil || p.Fraction < minFraction {
		return
	}
	elapsed := now.Sub(*r.StartedAt)
	if elapsed <= 0 {
		return
	}
	left := elapsed.Seconds() * (1 - p.Fraction) / p.Fraction
	spread := 0.05 + 0.45*(1-p.Fraction)
	at := func(seconds float64) *Time { return &Time{now.Add(time.Duration(seconds * float64(time.Second)))} }
	p.ETA, p.ETALow, p.ETAHigh = at(left), at(left*(1-spread)), at(left*(1+spread))
}
