package job_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/job"
)

func TestWhatFilesAreAskedForIsChecked(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		out  job.Output
		want []string
	}{
		"everything": {job.Output{Formats: job.Formats(), Metadata: &job.Metadata{
			Title: "T", Author: "A", Narrator: "N", Series: "S", SeriesIndex: 2.5, Year: 1818, Description: "Two\nlines.", Cover: "upl_1",
		}}, nil},
		"unknown and twice": {job.Output{Formats: []string{"ogg", "mp3", "mp3"}}, []string{"/output/formats/0", "/output/formats/2"}},
		"a level":           {job.Output{Loudness: job.LoudnessACX}, nil},
		"an unknown level":  {job.Output{Loudness: "loud"}, []string{"/output/loudness"}},
		"metadata": {job.Output{Metadata: &job.Metadata{
			Title: strings.Repeat("x", 257), Author: "a\x00", Narrator: "\xff", Series: "\u0085", SeriesIndex: -1, Year: 10_000, Description: strings.Repeat("x", 4097), Cover: "cover.jpg",
		}}, []string{
			"/output/metadata/title", "/output/metadata/author", "/output/metadata/narrator", "/output/metadata/series", "/output/metadata/description",
			"/output/metadata/series_index", "/output/metadata/cover", "/output/metadata/year",
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := job.Spec{Input: job.Input{Text: "x"}, Output: c.out}
			var got []string
			for _, f := range s.Faults(job.DefaultLimits()).List {
				got = append(got, f.Pointer)
			}
			require.Equal(t, c.want, got)
		})
	}
}
