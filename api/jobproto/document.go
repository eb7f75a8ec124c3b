package jobproto

import (
	"encoding/hex"
	"maps"
	"time"

	"github.com/voicemill/voicemill/api/jobdoc"
	"github.com/voicemill/voicemill/api/voicemillv1"
	"github.com/voicemill/voicemill/job"
)

// FromDocument returns d as a message. It shares memory with d.
func FromDocument(d *jobdoc.Document) *voicemillv1.Job {
	m := &voicemillv1.Job{
		Id: string(d.ID), State: states[d.State], Version: uint64(max(0, d.Version)), Class: classes[d.Class], Labels: d.Labels, //nolint:gosec // not negative
		Progress: FromProgress(&d.Progress), Title: d.Title, Language: d.Language,
		CreatedMs: d.CreatedAt.UnixMilli(), StartedMs: millis(d.StartedAt), FinishedMs: millis(d.FinishedAt),
	}
	if u := d.Usage; u != (jobdoc.Usage{}) {
		m.Usage = &voicemillv1.Job_Usage{
			Characters: uint64(max(0, u.Characters)), AudioSeconds: u.AudioSeconds, GpuSeconds: u.GPUSeconds, ReusedSeconds: u.ReusedSeconds, //nolint:gosec // not negative
		}
	}
	if d.Error != nil {
		m.ErrorKind, m.ErrorDetail = d.Error.Kind, d.Error.Detail
	}
	for _, c := range d.Chapters {
		one := &voicemillv1.Job_Chapter{Ordinal: count(c.Ordinal), Title: c.Title, State: string(c.State), AudioSeconds: c.AudioSeconds, Artifact: c.Artifact}
		if c.Error != nil {
			one.ErrorKind, one.ErrorDetail = c.Error.Kind, c.Error.Detail
		}
		m.Chapters = append(m.Chapters, one)
	}
	for _, a := range d.Artifacts {
		sum, err := hex.DecodeString(a.SHA256)
		if err != nil {
			sum = nil // the column is checked to be hex; a client without a digest is better off than one without a job
		}
		m.Artifacts = append(m.Artifacts, &voicemillv1.Job_Artifact{
			Name: a.Name, MediaType: a.MediaType, Bytes: uint64(max(0, a.Bytes)), Sha256: sum, AudioSeconds: a.AudioSeconds, DeliveredTo: a.DeliveredTo, //nolint:gosec // not negative
		})
	}
	for _, f := range d.Failures {
		m.Failures = append(m.Failures, &voicemillv1.Job_Failure{
			Segment: count(f.Segment), Chapter: count(f.Chapter), Kind: f.Kind, Detail: f.Detail, Attempts: count(f.Attempts),
		})
	}
	m.Quality = fromQuality(d.Quality)
	if w := d.Waiting; w != nil {
		m.Waiting = &voicemillv1.Job_Waiting{Pool: w.Pool, SinceMs: w.Since.UnixMilli(), Reason: w.Reason, Place: count(w.Place)}
	}
	if e := d.Estimate; e != nil {
		m.Estimate = &voicemillv1.Job_Estimate{AtMs: e.At.UnixMilli(), EtaMs: e.ETA.UnixMilli(), EtaLowMs: e.ETALow.UnixMilli(), EtaHighMs: e.ETAHigh.UnixMilli()}
	}
	if e := d.Delivery; e != nil {
		m.Delivery = fromDelivery(e)
	}
	return m
}

func fromDelivery(d *jobdoc.Delivery) *voicemillv1.Job_Delivery {
	m := &voicemillv1.Job_Delivery{State: d.State, Bucket: d.Bucket, FilesTotal: count(d.Files.Total), FilesDone: count(d.Files.Done), EndedMs: millis(d.EndedAt)}
	if d.Error != nil {
		m.ErrorKind, m.ErrorDetail = d.Error.Kind, d.Error.Detail
	}
	return m
}

func delivery(m *voicemillv1.Job_Delivery) *jobdoc.Delivery {
	if m == nil {
		return nil
	}
	return &jobdoc.Delivery{
		State: m.GetState(), Bucket: m.GetBucket(), Files: jobdoc.FileCounts{Total: int(m.GetFilesTotal()), Done: int(m.GetFilesDone())},
		Error: reason(m.GetErrorKind(), m.GetErrorDetail()), EndedAt: moment(m.GetEndedMs()),
	}
}

// Document returns m as a document.
func Document(m *voicemillv1.Job) jobdoc.Document {
	d := jobdoc.Document{
		ID: job.ID(m.GetId()), State: back(states, m.GetState()), Version: int64(m.GetVersion()), Class: back(classes, m.GetClass()), //nolint:gosec // versions count from 0
		Labels: map[string]string{}, Title: m.GetTitle(), Language: m.GetLanguage(), Progress: Progress(m.GetProgress()),
		CreatedAt: jobdoc.Time{Time: time.UnixMilli(m.GetCreatedMs()).UTC()}, StartedAt: moment(m.GetStartedMs()), FinishedAt: moment(m.GetFinishedMs()),
	}
	maps.Copy(d.Labels, m.GetLabels())
	if u := m.GetUsage(); u != nil {
		d.Usage = jobdoc.Usage{
			Characters: int64(u.GetCharacters()), AudioSeconds: u.GetAudioSeconds(), GPUSeconds: u.GetGpuSeconds(), ReusedSeconds: u.GetReusedSeconds(), //nolint:gosec // counts from 0
		}
	}
	d.Error, d.Delivery = reason(m.GetErrorKind(), m.GetErrorDetail()), delivery(m.GetDelivery())
	for _, c := range m.GetChapters() {
		d.Chapters = append(d.Chapters, jobdoc.Chapter{
			Ordinal: int(c.GetOrdinal()), Title: c.GetTitle(), State: job.ChapterState(c.GetState()), AudioSeconds: c.GetAudioSeconds(), Artifact: c.GetArtifact(),
			Error: reason(c.GetErrorKind(), c.GetErrorDetail()),
		})
	}
	for _, a := range m.GetArtifacts() {
		d.Artifacts = append(d.Artifacts, jobdoc.Artifact{
			Name: a.GetName(), MediaType: a.GetMediaType(), Bytes: int64(a.GetBytes()), SHA256: hex.EncodeToString(a.GetSha256()), AudioSeconds: a.GetAudioSeconds(), DeliveredTo: a.GetDeliveredTo(), //nolint:gosec // counts from 0
		})
	}
	for _, f := range m.GetFailures() {
		d.Failures = append(d.Failures, jobdoc.Failure{
			Segment: int(f.GetSegment()), Chapter: int(f.GetChapter()), Kind: f.GetKind(), Detail: f.GetDetail(), Attempts: int(f.GetAttempts()),
		})
	}
	d.Quality = quality(m.GetQuality())
	if w := m.GetWaiting(); w != nil {
		d.Waiting = &jobdoc.Waiting{Pool: w.GetPool(), Since: jobdoc.Time{Time: time.UnixMilli(w.GetSinceMs()).UTC()}, Reason: w.GetReason(), Place: int(w.GetPlace())}
	}
	if e := m.GetEstimate(); e != nil {
		at := func(ms int64) jobdoc.Time { return jobdoc.Time{Time: time.UnixMilli(ms).UTC()} }
		d.Estimate = &jobdoc.Estimate{At: at(e.GetAtMs()), ETA: at(e.GetEtaMs()), ETALow: at(e.GetEtaLowMs()), ETAHigh: at(e.GetEtaHighMs())}
	}
	return d
}

// FromEvent returns e as a message.
func FromEvent(e *jobdoc.Event) *voicemillv1.Event {
	return &voicemillv1.Event{Version: uint64(max(0, e.Version)), State: states[e.State], Progress: FromProgress(&e.Progress)} //nolint:gosec // not negative
}

// Event returns m as an event.
func Event(m *voicemillv1.Event) jobdoc.Event {
	return jobdoc.Event{Version: int64(m.GetVersion()), State: back(states, m.GetState()), Progress: Progress(m.GetProgress())} //nolint:gosec // counts from 0
}

// FromProgress returns p as a message.
func FromProgress(p *jobdoc.Progress) *voicemillv1.Progress {
	return &voicemillv1.Progress{
		SegmentsTotal: count(p.Segments.Total), SegmentsDone: count(p.Segments.Done), SegmentsReused: count(p.Segments.Reused),
		SegmentsFailed: count(p.Segments.Failed), ChaptersTotal: count(p.Chapters.Total), ChaptersReady: count(p.Chapters.Ready),
		AudioSeconds: p.AudioSeconds, Fraction: float32(p.Fraction), EtaMs: millis(p.ETA), EtaLowMs: millis(p.ETALow), EtaHighMs: millis(p.ETAHigh),
	}
}

// Progress returns m as the progress of a document; nil is none.
func Progress(m *voicemillv1.Progress) jobdoc.Progress {
	return jobdoc.Progress{
		Segments: jobdoc.SegmentCounts{
			Total: int(m.GetSegmentsTotal()), Done: int(m.GetSegmentsDone()), Reused: int(m.GetSegmentsReused()), Failed: int(m.GetSegmentsFailed()),
		},
		Chapters:     jobdoc.ChapterCounts{Total: int(m.GetChaptersTotal()), Ready: int(m.GetChaptersReady())},
		AudioSeconds: m.GetAudioSeconds(), Fraction: float64(m.GetFraction()),
		ETA: moment(m.GetEtaMs()), ETALow: moment(m.GetEtaLowMs()), ETAHigh: moment(m.GetEtaHighMs()),
	}
}

func count(n int) uint32 { return uint32(max(0, n)) } //nolint:gosec // limits are far below 2^32

func millis(t *jobdoc.Time) int64 {
	if t == nil {
		return 0
	}
	return t.UnixMilli()
}

func moment(ms int64) *jobdoc.Time {
	if ms == 0 {
		return nil
	}
	return &jobdoc.Time{Time: time.UnixMilli(ms).UTC()}
}

func reason(kind, detail string) *jobdoc.Error {
	if kind == "" && detail == "" {
		return nil
	}
	return &jobdoc.Error{Kind: kind, Detail: detail}
}
