package job_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/job"
)

func TestABookThatReadsAlongIsMadeOfEncodedChapters(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ formats, want []string }{
		"none":     {nil, []string{"wav", "mp3"}},
		"others":   {[]string{"flac"}, []string{"flac", "mp3"}},
		"with M4B": {[]string{"m4b"}, []string{"m4b"}},
		"with MP3": {[]string{"wav", "mp3"}, []string{"wav", "mp3"}},
	} {
		s := job.Spec{Input: job.Input{Text: "x"}, Output: job.Output{Formats: c.formats, ReadAlong: true}}
		s.Normalize()
		s.Normalize()
		require.Equal(t, c.want, s.Output.Formats, name)
		require.Empty(t, s.Output.Implied(), name)
	}
}
