package job_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/job"
)

func TestWhatIsHeardIsChosenByName(t *testing.T) {
	t.Parallel()
	s := job.Spec{Input: job.Input{Text: "Hello."}}
	for _, v := range []job.Verify{"", job.VerifyNone, job.VerifySample, job.VerifyAll} {
		for _, d := range []job.OnDoubt{"", job.RetryDoubtful, job.DeliverDoubtful} {
			s.Verify, s.OnDoubt = v, d
			require.Empty(t, s.Faults(job.DefaultLimits()).List)
		}
	}
	s.Verify, s.OnDoubt = "some", "panic"
	faults := s.Faults(job.DefaultLimits()).List
	require.Len(t, faults, 2)
	require.Equal(t, "/verify", faults[0].Pointer)
	require.Equal(t, "/on_doubt", faults[1].Pointer)
	s.Verify, s.OnDoubt = "", ""
	s.Normalize()
	require.Equal(t, job.VerifyNone, s.Verify)
	require.Equal(t, job.RetryDoubtful, s.OnDoubt)
}

func TestQualityCountsWhatItDoesNotTell(t *testing.T) {
	t.Parallel()
	var q job.Quality
	q.Count(nil)
	for range 3 * job.MaxDoubts {
		q.Count(&job.Hearing{Kind: "missing", Words: 10, Errors: 5, Tries: 3})
		q.Doubt(job.Doubt{Text: strings.Repeat("é", 400), Heard: "x"})
	}
	require.Equal(t, 3*job.MaxDoubts, q.Doubtful)
	require.Equal(t, 3*job.MaxDoubts, q.Redone)
	require.Len(t, q.Stretches, job.MaxDoubts)
	require.LessOrEqual(t, len(q.Stretches[0].Text), job.MaxDoubtText+len("…"))
	require.InDelta(t, .5, q.WordErrorRate, 1e-9)
	require.InDelta(t, float64(q.Heard)/float64(q.Heard+1), q.HeardShare, 1e-9)
	require.Len(t, job.Clip(strings.Repeat("a", 5000)), job.MaxHeard+len("…"))
}
