package jobproto_test

import (
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/voicemill/voicemill/api/jobdoc"
	"github.com/voicemill/voicemill/api/jobproto"
	"github.com/voicemill/voicemill/api/voicemillv1"
	"github.com/voicemill/voicemill/job"
)

const text = "It was the best of times."

func specs() map[string]job.Spec {
	deadline := time.Date(2026, 12, 1, 6, 0, 0, 0, time.UTC)
	full := job.Spec{
		Input: job.Input{Text: text, Media: job.MediaText}, Voice: "narrator-en", Language: "en", Speed: 1.25, Seed: -7, Instructions: "warm", Class: job.Interactive,
		Priority: -3, Deadline: &deadline, Output: job.Output{
			Formats: []string{"wav", "m4b"}, Subtitles: []string{"vtt", "ass"}, ReadAlong: true, Pauses: &job.Pauses{Sentence: 0, Paragraph: 0.7, Chapter: 1.5},
			Metadata: &job.Metadata{Title: "T", Author: "A", Narrator: "N", Series: "S", SeriesIndex: 1.5, Year: 1999, Description: "D", Publisher: "P", Cover: "upl_c"},
			Loudness: job.LoudnessACX, DeliverTo: "bkt_1", Path: "{title}.{ext}",
		},
		Verify: job.VerifySample, OnDoubt: job.DeliverDoubtful,
		OnFailure: job.AllowPartial, Callback: &job.Callback{URL: "https://example.com/hook", Events: []string{job.EventSucceeded, job.EventFailed}},
		Labels: map[string]string{"book": "pg1661"},
	}
	normal := job.Spec{Input: job.Input{Text: text}, Voice: "narrator-en"}
	normal.Normalize()
	return map[string]job.Spec{
		"everything":         full,
		"nothing":            {},
		"defaults":           normal,
		"an upload":          {Input: job.Input{Upload: "upl_1", Media: job.MediaEPUB}},
		"segments":           {Input: job.Input{Segments: []job.InputSegment{{Text: "a", Voice: "b", Instructions: "cold"}, {Text: "c"}}}},
		"a callback, silent": {Callback: &job.Callback{URL: "https://example.com"}},
	}
}

func TestASpecSurvivesTheRoundTrip(t *testing.T) {
	t.Parallel()
	for name, want := range specs() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := jobproto.Spec(wired(t, jobproto.FromSpec(&want), &voicemillv1.Spec{}))
			require.Empty(t, cmp.Diff(want, got))
		})
	}
}

func TestPausesThatAreNotNamedAreTheDefaults(t *testing.T) {
	t.Parallel()
	got := jobproto.Spec(&voicemillv1.Spec{Pauses: &voicemillv1.Spec_Pauses{Sentence: proto.Float64(0)}})
	require.Equal(t, &job.Pauses{Sentence: 0, Paragraph: job.DefaultPauses().Paragraph, Chapter: job.DefaultPauses().Chapter}, got.Output.Pauses)
}

func TestAnUnknownNumberIsRefusedByTheCheck(t *testing.T) {
	t.Parallel()
	s := jobproto.Spec(&voicemillv1.Spec{Text: text, Voice: "v", Class: 99, OnFailure: 99, Verify: 99, OnDoubt: 99})
	var pointers []string
	for _, f := range s.Faults(job.DefaultLimits()).List {
		pointers = append(pointers, f.Pointer)
	}
	require.Contains(t, pointers, "/class")
	require.Contains(t, pointers, "/on_failure")
	require.Contains(t, pointers, "/verify")
	require.Contains(t, pointers, "/on_doubt")
}

func TestEveryWordHasItsNumber(t *testing.T) {
	t.Parallel()
	seen := map[voicemillv1.State]bool{}
	for _, s := range job.States() {
		m := jobproto.FromEvent(&jobdoc.Event{State: s})
		require.NotZero(t, m.GetState(), s)
		require.False(t, seen[m.GetState()], s)
		seen[m.GetState()] = true
		require.Equal(t, s, jobproto.Event(m).State)
	}
	require.Len(t, voicemillv1.State_name, len(seen)+1)
}

// document is a job that is running, like the one of the contract's example.
func document(chapters int) jobdoc.Document {
	at := time.Date(2026, 11, 22, 12, 0, 0, int(345*time.Millisecond), time.UTC)
	moment := func(d time.Duration) *jobdoc.Time { return &jobdoc.Time{Time: at.Add(d)} }
	d := jobdoc.Document{
		ID: "job_06d4kp2v9m3x8s1t7q5w0z4c6h2j9n5r8y3b1fg", State: job.StateRunning, Version: 42, Class: job.Bulk, Labels: map[string]string{"book": "pg1661"},
		Title: "The Adventures of Sherlock Holmes", Language: "en",
		Progress: jobdoc.Progress{
			Segments: jobdoc.SegmentCounts{Total: 812, Done: 400, Reused: 120, Failed: 1}, Chapters: jobdoc.ChapterCounts{Total: chapters, Ready: chapters / 2},
			AudioSeconds: 14400.5, Fraction: float64(float32(0.493)), ETA: moment(time.Hour), ETALow: moment(50 * time.Minute), ETAHigh: moment(70 * time.Minute),
		},
		Usage:     jobdoc.Usage{Characters: 581000, AudioSeconds: 14400.5, GPUSeconds: 310.25, ReusedSeconds: 1800.125},
		Failures:  []jobdoc.Failure{{Segment: 17, Chapter: 2, Kind: "engine", Detail: "the engine gave no audio", Attempts: 3}},
		CreatedAt: jobdoc.Time{Time: at}, StartedAt: moment(time.Second),
	}
	for n := range chapters {
		c := jobdoc.Chapter{Ordinal: n + 1, Title: fmt.Sprintf("Chapter %d", n+1), State: job.ChapterState("pending")}
		if n < chapters/2 {
			c.State, c.AudioSeconds, c.Artifact = "ready", 1203.4+float64(n), fmt.Sprintf("chapter-%03d.wav", n+1)
			d.Artifacts = append(d.Artifacts, jobdoc.Artifact{
				Name: c.Artifact, MediaType: "audio/wav", Bytes: 53_069_940, SHA256: strings.Repeat("0123456789abcdef", 4), AudioSeconds: c.AudioSeconds,
			})
		}
		d.Chapters = append(d.Chapters, c)
	}
	return d
}

func TestADocumentSurvivesTheRoundTrip(t *testing.T) {
	t.Parallel()
	failed := document(2)
	failed.State, failed.Error, failed.FinishedAt = job.StateFailed, &jobdoc.Error{Kind: "invalid", Detail: "no text"}, failed.StartedAt
	failed.Quality = &job.Quality{Verify: job.VerifyAll, Stretches: []job.Doubt{}}
	failed.Quality.Count(&job.Hearing{Kind: "missing", Words: 12, Errors: 3, Tries: 2})
	failed.Quality.Doubt(job.Doubt{Segment: 1, Chapter: 2, StartSeconds: 1.5, Kind: "missing", Text: "a b", Heard: "a", Tries: 2})
	failed.Chapters[1].Error = &jobdoc.Error{Kind: "engine", Detail: "x"}
	spec := specs()["everything"]
	for name, want := range map[string]jobdoc.Document{
		"running":  document(12),
		"failed":   failed,
		"accepted": jobdoc.Accepted("job_x", time.UnixMilli(1_700_000_000_123).UTC(), &spec),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := jobproto.Document(wired(t, jobproto.FromDocument(&want), &voicemillv1.Job{}))
			require.Empty(t, cmp.Diff(want, got, cmpopts.EquateEmpty()))
			e := jobdoc.EventOf(&want)
			require.Empty(t, cmp.Diff(e, jobproto.Event(wired(t, jobproto.FromEvent(&e), &voicemillv1.Event{}))))
		})
	}
}

// TestFramesAreSmallerThanJSON holds the promise of docs/protocols.md: at most
// 0.6 of the bytes for a submit without its text, a status and an event.
func TestFramesAreSmallerThanJSON(t *testing.T) {
	t.Parallel()
	const most = 0.6
	spec := specs()["everything"]
	running, small := document(12), document(1)
	event := jobdoc.EventOf(&running)
	for name, c := range map[string]struct {
		json  any
		frame *voicemillv1.Frame
		text  int // bytes that both have
	}{
		"submit":                 {spec, &voicemillv1.Frame{Stream: 1, Body: &voicemillv1.Frame_Submit{Submit: &voicemillv1.Submit{Spec: jobproto.FromSpec(&spec)}}}, len(text)},
		"status, 12 chapters":    {running, &voicemillv1.Frame{Stream: 1, Body: &voicemillv1.Frame_Job{Job: jobproto.FromDocument(&running)}}, 0},
		"status, 1 chapter":      {small, &voicemillv1.Frame{Stream: 1, Body: &voicemillv1.Frame_Job{Job: jobproto.FromDocument(&small)}}, 0},
		"progress, no transport": {event, &voicemillv1.Frame{Stream: 1, Body: &voicemillv1.Frame_Event{Event: jobproto.FromEvent(&event)}}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			plain, err := json.Marshal(c.json)
			require.NoError(t, err)
			const length = 4 // before every frame of a raw connection
			asJSON, asFrame := len(plain)-c.text, proto.Size(c.frame)+length-c.text
			ratio := float64(asFrame) / float64(asJSON)
			t.Logf("%-24s JSON %5d bytes, frame %5d bytes, ratio %.2f", name, asJSON, asFrame, ratio)
			require.LessOrEqual(t, ratio, most)
		})
	}
}

// wired sends m through its bytes.
func wired[M proto.Message](t *testing.T, m, into M) M {
	t.Helper()
	raw, err := proto.Marshal(m)
	require.NoError(t, err)
	require.NoError(t, proto.Unmarshal(raw, into))
	return into
}

// FuzzSpec turns whatever a client sends into a spec, checks it as the server
// does, and holds a second round trip against the first.
func FuzzSpec(f *testing.F) {
	for _, s := range specs() {
		raw, err := proto.Marshal(jobproto.FromSpec(&s))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(raw)
	}
	for _, m := range []*voicemillv1.Spec{
		{Text: text, Voice: "v", Speed: math.NaN()},
		{Text: text, Voice: "v", Speed: 1, DeadlineMs: math.MaxInt64},
		{Text: text, Voice: "v", Pauses: &voicemillv1.Spec_Pauses{Chapter: new(math.Inf(1))}},
	} {
		raw, err := proto.Marshal(m)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(raw)
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		var m voicemillv1.Spec
		if proto.Unmarshal(raw, &m) != nil {
			return
		}
		s := jobproto.Spec(&m)
		if faults := s.Faults(job.DefaultLimits()); !faults.Any() {
			if _, err := json.Marshal(s); err != nil {
				t.Fatalf("the check lets pass what JSON cannot say: %v", err)
			}
			again := jobproto.Spec(jobproto.FromSpec(&s))
			if d := cmp.Diff(s, again, cmpopts.EquateEmpty()); d != "" {
				t.Fatal(d)
			}
		}
	})
}
