package jobproto

import (
	"github.com/voicemill/voicemill/api/voicemillv1"
	"github.com/voicemill/voicemill/job"
)

func fromQuality(q *job.Quality) *voicemillv1.Job_Quality {
	if q == nil {
		return nil
	}
	m := &voicemillv1.Job_Quality{
		Verify: verifies[q.Verify], Segments: count(q.Segments), Heard: count(q.Heard), Redone: count(q.Redone),
		Words: count(q.Words), WordErrors: count(q.WordErrors), Doubtful: count(q.Doubtful),
	}
	for _, d := range q.Stretches {
		m.Stretches = append(m.Stretches, &voicemillv1.Job_Doubt{
			Segment: count(d.Segment), Chapter: count(d.Chapter), StartSeconds: d.StartSeconds, Kind: d.Kind, Text: d.Text, Heard: d.Heard, Tries: count(d.Tries),
		})
	}
	return m
}

func quality(m *voicemillv1.Job_Quality) *job.Quality {
	if m == nil {
		return nil
	}
	q := &job.Quality{
		Verify: back(verifies, m.GetVerify()), Segments: int(m.GetSegments()), Heard: int(m.GetHeard()), Redone: int(m.GetRedone()),
		Words: int(m.GetWords()), WordErrors: int(m.GetWordErrors()), Doubtful: int(m.GetDoubtful()), Stretches: []job.Doubt{},
	}
	q.Share()
	for _, d := range m.GetStretches() {
		q.Stretches = append(q.Stretches, job.Doubt{
			Segment: int(d.GetSegment()), Chapter: int(d.GetChapter()), StartSeconds: d.GetStartSeconds(), Kind: d.GetKind(), Text: d.GetText(),
			Heard: d.GetHeard(), Tries: int(d.GetTries()),
		})
	}
	return q
}
