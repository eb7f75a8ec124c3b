package assemble_test

import (
	"encoding/json"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/platform/bus"
	"github.com/voicemill/voicemill/worker/internal/plantest"
	"github.com/voicemill/voicemill/worker/internal/store"
	"github.com/voicemill/voicemill/worker/internal/timeline"
)

// TestSubtitlesSoundWhereTheManifestSays has two chapters with a gap, and looks
// for each word of the manifest in the book's file at its time.
func TestSubtitlesSoundWhereTheManifestSays(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	p := plantest.Insert(t, b.db, plantest.Book{OnFailure: job.AllowPartial, Subtitles: []string{job.SubtitlesVTT, job.SubtitlesSRT, job.SubtitlesASS}, Chapters: []plantest.Chapter{
		plantest.Sentences("One", "Hello there.", "bad", "Once more."), plantest.Sentences("Two", "The end."),
	}})
	bundles, err := plantest.Release(t.Context(), b.db, p)
	require.NoError(t, err)
	b.settle(t, bundles, func(g bus.Segment) *store.Rendition {
		if g.Text == "bad" {
			return nil
		}
		r := b.keep(t, p.Tenant, g, rate, ramp(rate))
		end := len(g.Text)
		r.Marks = fmt.Appendf(nil, `{"sentences":[[0,%d,0]],"words":[[0,3,0],[%d,%d,11025]]}`, end, end-4, end-1)
		return r
	})
	b.do(t, p.ID, 1)
	b.do(t, p.ID, 2)
	b.do(t, p.ID, 0)
	require.Equal(t, `WEBVTT

00:00:00.000 --> 00:00:01.000
Hello <00:00:00.500>there.

00:00:01.350 --> 00:00:02.350
Once <00:00:01.850>more.
`, string(b.read(t, p.ID, "chapter-001.vtt")))
	require.Equal(t, "1\n00:00:00,000 --> 00:00:01,000\nThe end.\n\n", string(b.read(t, p.ID, "chapter-002.srt")))
	require.Contains(t, string(b.read(t, p.ID, "chapter-002.ass")), `{\k50}The {\k50}end.`)

	var m struct {
		Chapters []struct {
			StartSeconds float64 `json:"start_seconds"`
			Segments     []struct{ Words []timeline.Mark }
		}
	}
	require.NoError(t, json.Unmarshal(b.read(t, p.ID, "manifest.json"), &m))
	book := string(b.read(t, p.ID, "book.vtt"))
	for _, c := range m.Chapters {
		for _, g := range c.Segments {
			for _, w := range g.Words {
				require.Contains(t, book, fmt.Sprintf("00:00:%06.3f", c.StartSeconds+float64(w[2])/rate))
			}
		}
	}
	var kept int
	require.NoError(t, b.db.QueryRow(t.Context(), `select count(*) from artifacts where job_id = $1 and name ~ '[.](vtt|srt|ass)$'`, p.ID).Scan(&kept))
	require.Equal(t, 9, kept)
}
