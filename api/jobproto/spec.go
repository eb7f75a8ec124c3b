package jobproto

import (
	"time"

	"github.com/voicemill/voicemill/api/voicemillv1"
	"github.com/voicemill/voicemill/job"
)

// FromSpec returns the message that asks for s. It shares memory with s.
func FromSpec(s *job.Spec) *voicemillv1.Spec {
	m := &voicemillv1.Spec{
		Text: s.Input.Text, Upload: s.Input.Upload, MediaType: s.Input.Media, Voice: s.Voice, Language: s.Language, Speed: s.Speed, Seed: s.Seed, Instructions: s.Instructions,
		Class: classes[s.Class], Priority: int32(s.Priority), Formats: s.Output.Formats, Subtitles: s.Output.Subtitles, OnFailure: onFailures[s.OnFailure], Labels: s.Labels, //nolint:gosec // -10 to 10
		Loudness: s.Output.Loudness, ReadAlong: s.Output.ReadAlong, DeliverTo: s.Output.DeliverTo, Path: s.Output.Path, Verify: verifies[s.Verify], OnDoubt: onDoubts[s.OnDoubt],
	}
	for _, g := range s.Input.Segments {
		m.Segments = append(m.Segments, &voicemillv1.Spec_Segment{Text: g.Text, Voice: g.Voice, Instructions: g.Instructions})
	}
	if s.Deadline != nil {
		m.DeadlineMs = s.Deadline.UnixMilli()
	}
	if p := s.Output.Pauses; p != nil {
		m.Pauses = &voicemillv1.Spec_Pauses{Sentence: &p.Sentence, Paragraph: &p.Paragraph, Chapter: &p.Chapter}
	}
	if d := s.Output.Metadata; d != nil {
		m.Metadata = &voicemillv1.Spec_Metadata{
			Title: d.Title, Author: d.Author, Narrator: d.Narrator, Series: d.Series, SeriesIndex: d.SeriesIndex, Year: int32(d.Year), Description: d.Description, Publisher: d.Publisher, Cover: d.Cover, //nolint:gosec // 0 to 9999
		}
	}
	if c := s.Callback; c != nil {
		m.Callback = &voicemillv1.Spec_Callback{Url: c.URL, Events: c.Events}
	}
	return m
}

// Spec returns what m asks for. It is not checked: see [job.Spec.Faults]. An
// enumerated value that is not known becomes one that the check refuses.
func Spec(m *voicemillv1.Spec) job.Spec {
	s := job.Spec{
		Input: job.Input{Text: m.GetText(), Upload: m.GetUpload(), Media: m.GetMediaType()},
		Voice: m.GetVoice(), Language: m.GetLanguage(), Speed: m.GetSpeed(), Seed: m.GetSeed(), Instructions: m.GetInstructions(),
		Class: back(classes, m.GetClass()), Priority: int(m.GetPriority()),
		Output: job.Output{Formats: m.GetFormats(), Subtitles: m.GetSubtitles()}, OnFailure: back(onFailures, m.GetOnFailure()), Labels: m.GetLabels(),
		Verify: back(verifies, m.GetVerify()), OnDoubt: back(onDoubts, m.GetOnDoubt()),
	}
	for _, g := range m.GetSegments() {
		s.Input.Segments = append(s.Input.Segments, job.InputSegment{Text: g.GetText(), Voice: g.GetVoice(), Instructions: g.GetInstructions()})
	}
	if ms := m.GetDeadlineMs(); ms != 0 {
		t := time.UnixMilli(ms).UTC()
		s.Deadline = &t
	}
	if p := m.GetPauses(); p != nil {
		all := job.DefaultPauses()
		for _, one := range []struct {
			from *float64
			to   *float64
		}{{p.Sentence, &all.Sentence}, {p.Paragraph, &all.Paragraph}, {p.Chapter, &all.Chapter}} {
			if one.from != nil {
				*one.to = *one.from
			}
		}
		s.Output.Pauses = &all
	}
	s.Output.Loudness, s.Output.ReadAlong, s.Output.DeliverTo, s.Output.Path = m.GetLoudness(), m.GetReadAlong(), m.GetDeliverTo(), m.GetPath()
	if d := m.GetMetadata(); d != nil {
		s.Output.Metadata = &job.Metadata{
			Title: d.GetTitle(), Author: d.GetAuthor(), Narrator: d.GetNarrator(), Series: d.GetSeries(), SeriesIndex: d.GetSeriesIndex(),
			Year: int(d.GetYear()), Description: d.GetDescription(), Publisher: d.GetPublisher(), Cover: d.GetCover(),
		}
	}
	if c := m.GetCallback(); c != nil {
		s.Callback = &job.Callback{URL: c.GetUrl(), Events: c.GetEvents()}
	}
	return s
}

//nolint:gochecknoglobals // a table
var classes = map[job.Class]voicemillv1.Class{
	"": voicemillv1.Class_CLASS_UNSPECIFIED, job.Bulk: voicemillv1.Class_CLASS_BULK, job.Interactive: voicemillv1.Class_CLASS_INTERACTIVE,
}

//nolint:gochecknoglobals // a table
var onFailures = map[job.OnFailure]voicemillv1.OnFailure{
	"": voicemillv1.OnFailure_ON_FAILURE_UNSPECIFIED, job.FailJob: voicemillv1.OnFailure_ON_FAILURE_FAIL,
	job.AllowPartial: voicemillv1.OnFailure_ON_FAILURE_PARTIAL,
}

//nolint:gochecknoglobals // a table
var verifies = map[job.Verify]voicemillv1.Verify{
	"": voicemillv1.Verify_VERIFY_UNSPECIFIED, job.VerifyNone: voicemillv1.Verify_VERIFY_NONE,
	job.VerifySample: voicemillv1.Verify_VERIFY_SAMPLE, job.VerifyAll: voicemillv1.Verify_VERIFY_ALL,
}

//nolint:gochecknoglobals // a table
var onDoubts = map[job.OnDoubt]voicemillv1.OnDoubt{
	"": voicemillv1.OnDoubt_ON_DOUBT_UNSPECIFIED, job.RetryDoubtful: voicemillv1.OnDoubt_ON_DOUBT_RETRY,
	job.DeliverDoubtful: voicemillv1.OnDoubt_ON_DOUBT_DELIVER,
}

//nolint:gochecknoglobals // a table
var states = map[job.State]voicemillv1.State{
	"": voicemillv1.State_STATE_UNSPECIFIED, job.StateAccepted: voicemillv1.State_STATE_ACCEPTED, job.StatePlanning: voicemillv1.State_STATE_PLANNING,
	job.StateQueued: voicemillv1.State_STATE_QUEUED, job.StateRunning: voicemillv1.State_STATE_RUNNING,
	job.StateAssembling: voicemillv1.State_STATE_ASSEMBLING, job.StateSucceeded: voicemillv1.State_STATE_SUCCEEDED,
	job.StatePartial: voicemillv1.State_STATE_PARTIAL, job.StateFailed: voicemillv1.State_STATE_FAILED,
	job.StateCancelled: voicemillv1.State_STATE_CANCELLED,
}

// back finds the word for a number; a number without one becomes "unknown".
func back[W ~string, N comparable](table map[W]N, n N) W {
	for word, number := range table {
		if number == n {
			return word
		}
	}
	return "unknown"
}
