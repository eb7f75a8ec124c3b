package jobdoc_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/api/jobdoc"
	"github.com/voicemill/voicemill/job"
)

func at(seconds int) time.Time {
	return time.Date(2026, 11, 22, 12, 0, 0, 123_456_789, time.UTC).Add(time.Duration(seconds) * time.Second)
}

func row() *jobdoc.Row {
	started := at(10)
	kind, detail := "engine", "no sound"
	return &jobdoc.Row{
		ID: "job_1", Tenant: "default", Class: "bulk", State: "running", Version: 7, Labels: []byte(`{"book":"x"}`), Title: "A Book", Language: "en",
		SegmentsTotal: 100, SegmentsDone: 40, SegmentsReused: 10, ChaptersTotal: 2, ChaptersReady: 1, Characters: 5000,
		PredictedSeconds: 1000, DoneSeconds: 500, AudioSeconds: 480, ReusedSeconds: 90, GPUSeconds: 12, AcceptedAt: at(0), StartedAt: &started,
		ErrorKind: &kind, ErrorDetail: &detail,
		Chapters:  []byte(`[{"ordinal":1,"title":"One","state":"ready","audio_seconds":480,"artifact":"chapter-001.wav","error":null}]`),
		Artifacts: []byte(`[{"name":"chapter-001.wav","media_type":"audio/wav","bytes":5,"sha256":"ab","audio_seconds":480}]`),
	}
}

func TestADocumentReadsAsTheContractSays(t *testing.T) {
	t.Parallel()
	d, err := jobdoc.Build(row(), at(110))
	require.NoError(t, err)
	got, err := json.MarshalIndent(d, "", " ")
	require.NoError(t, err)
	want := `{
 "id": "job_1",
 "state": "running",
 "version": 7,
 "class": "bulk",
 "labels": {
  "book": "x"
 },
 "title": "A Book",
 "language": "en",
 "progress": {
  "segments": {
   "total": 100,
   "done": 40,
   "reused": 10,
   "failed": 0
  },
  "chapters": {
   "total": 2,
   "ready": 1
  },
  "audio_seconds": 480,
  "fraction": 0.5,
  "eta": "2026-11-22T12:03:30.123Z",
  "eta_low": "2026-11-22T12:03:02.623Z",
  "eta_high": "2026-11-22T12:03:57.623Z"
 },
 "chapters": [
  {
   "ordinal": 1,
   "title": "One",
   "state": "ready",
   "audio_seconds": 480,
   "artifact": "chapter-001.wav"
  }
 ],
 "artifacts": [
  {
   "name": "chapter-001.wav",
   "media_type": "audio/wav",
   "bytes": 5,
   "sha256": "ab",
   "audio_seconds": 480
  }
 ],
 "error": {
  "kind": "engine",
  "detail": "no sound"
 },
 "usage": {
  "characters": 5000,
  "audio_seconds": 480,
  "gpu_seconds": 12,
  "reused_seconds": 90
 },
 "created_at": "2026-11-22T12:00:00.123Z",
 "started_at": "2026-11-22T12:00:10.123Z"
}`
	require.Empty(t, cmp.Diff(want, string(got)))
	var again jobdoc.Document
	require.NoError(t, json.Unmarshal(got, &again))
	require.Equal(t, d.Chapters, again.Chapters)
	require.True(t, again.CreatedAt.Equal(d.CreatedAt.Truncate(time.Millisecond)))
}

func TestNoEstimateIsMadeFromNothing(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*jobdoc.Row){
		"not started":       func(r *jobdoc.Row) { r.StartedAt = nil },
		"not running":       func(r *jobdoc.Row) { r.State = "queued" },
		"too little done":   func(r *jobdoc.Row) { r.DoneSeconds = 10 },
		"nothing predicted": func(r *jobdoc.Row) { r.PredictedSeconds = 0 },
		"ended":             func(r *jobdoc.Row) { r.State = "succeeded" },
	} {
		r := row()
		change(r)
		d, err := jobdoc.Build(r, at(110))
		require.NoError(t, err)
		require.Nil(t, d.Progress.ETA, name)
	}
}

func TestTheFractionIsWholeOnlyAtTheEnd(t *testing.T) {
	t.Parallel()
	r := row()
	r.State, r.DoneSeconds = "succeeded", 999.9
	d, err := jobdoc.Build(r, at(110))
	require.NoError(t, err)
	require.InDelta(t, 1, d.Progress.Fraction, 0)
	r.State, r.DoneSeconds = "failed", 2000
	d, err = jobdoc.Build(r, at(110))
	require.NoError(t, err)
	require.InDelta(t, 1, d.Progress.Fraction, 0)
}

func TestARowThatIsNoJSONIsAnError(t *testing.T) {
	t.Parallel()
	r := row()
	r.Chapters = []byte(`{`)
	_, err := jobdoc.Build(r, at(0))
	require.ErrorContains(t, err, "chapters of job job_1")
}

func TestABriefDocumentFitsAndKeepsItsCounts(t *testing.T) {
	t.Parallel()
	d := jobdoc.Accepted("job_1", at(0), &job.Spec{Class: job.Interactive, Labels: map[string]string{"k": strings.Repeat("v", 200)}})
	for n := range 5000 {
		d.Chapters = append(d.Chapters, jobdoc.Chapter{Ordinal: n + 1, Title: "A chapter with a title", State: job.ChapterReady})
		d.Artifacts = append(d.Artifacts, jobdoc.Artifact{Name: "chapter.wav", SHA256: strings.Repeat("a", 64)})
	}
	d.Progress.Chapters.Total = 5000
	d.Quality = &job.Quality{}
	for range 100 {
		d.Quality.Doubt(job.Doubt{Text: strings.Repeat("t", 240), Heard: strings.Repeat("h", 240)})
	}
	for _, limit := range []int{20_000, 2_000, 100} {
		b := d.Brief(limit)
		raw, err := json.Marshal(b)
		require.NoError(t, err)
		require.Equal(t, 5000, b.Progress.Chapters.Total)
		require.Equal(t, 100, b.Quality.Doubtful)
		if limit > 500 {
			require.LessOrEqual(t, len(raw), limit)
		}
	}
	require.Len(t, d.Chapters, 5000, "the document itself stays whole")
	require.Len(t, d.Quality.Stretches, job.MaxDoubts)
}
