package job_test

import (
	"math"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/job"
)

func TestWhatARequestLeavesOutIsOfTheDocument(t *testing.T) {
	t.Parallel()
	document := job.Metadata{Title: "T", Author: "A", Series: "Own", SeriesIndex: 3, Year: 1818, Description: "D", Publisher: "P"}
	for name, c := range map[string]struct {
		asked *job.Metadata
		want  job.Metadata
	}{
		"nothing is asked for":             {nil, document},
		"all is":                           {&job.Metadata{Title: "t", Author: "a", Narrator: "n", Series: "s", SeriesIndex: 1, Year: 1, Description: "d", Publisher: "p", Cover: "upl_1"}, job.Metadata{Title: "t", Author: "a", Narrator: "n", Series: "s", SeriesIndex: 1, Year: 1, Description: "d", Publisher: "p", Cover: "upl_1"}},
		"another series has no old place":  {&job.Metadata{Series: "s"}, job.Metadata{Title: "T", Author: "A", Series: "s", Year: 1818, Description: "D", Publisher: "P"}},
		"another place in the same series": {&job.Metadata{SeriesIndex: 4}, job.Metadata{Title: "T", Author: "A", Series: "Own", SeriesIndex: 4, Year: 1818, Description: "D", Publisher: "P"}},
	} {
		require.Equal(t, c.want, c.asked.Or(document), name)
	}
}

func TestMetadataOfADocumentIsBounded(t *testing.T) {
	t.Parallel()
	m := job.Metadata{
		Title: strings.Repeat("é", 200), Author: "a\x00b\u0085c", Series: "s\xff", SeriesIndex: math.NaN(), Year: -1,
		Description: strings.Repeat("x", 5000), Publisher: "  p ",
	}.Bounded()
	require.Equal(t, job.Metadata{
		Title: strings.Repeat("é", 126) + "…", Author: "a b c", Series: "s\uFFFD", Description: strings.Repeat("x", 4093) + "…", Publisher: "p",
	}, m)
	require.Zero(t, job.Metadata{SeriesIndex: 2}.Bounded(), "no place without a series")
	require.Equal(t, job.Metadata{Series: "s", SeriesIndex: 2.5}, job.Metadata{Series: "s", SeriesIndex: 2.5}.Bounded())
}
