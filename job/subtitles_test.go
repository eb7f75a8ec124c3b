package job_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/job"
)

func TestFormatsOfSubtitlesAreKnownAndNamedOnce(t *testing.T) {
	t.Parallel()
	s := job.Spec{Input: job.Input{Text: "x"}, Output: job.Output{Subtitles: job.Subtitles()}}
	require.Empty(t, s.Faults(job.DefaultLimits()).List)
	s.Output.Subtitles = []string{"vtt", "sub", "vtt"}
	faults := s.Faults(job.DefaultLimits()).List
	require.Len(t, faults, 2)
	require.Equal(t, "/output/subtitles/1", faults[0].Pointer)
	require.Equal(t, "/output/subtitles/2", faults[1].Pointer)
}
