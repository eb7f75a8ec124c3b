package plan_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/scheduler/internal/storetest"
)

func TestWhatADocumentSaysOfItselfIsKept(t *testing.T) {
	t.Parallel()
	b := newBench(t, job.DefaultLimits())
	b.run(t)
	long := strings.Repeat("a", 256) // as a request may have it
	a := b.Accepted(t, storetest.Tenant, job.Spec{Input: job.Input{
		Media: job.MediaMarkdown, Text: "---\ntitle: " + long + "\nauthor: " + long + "\nseries: S\nseries_index: 2\nyear: 1818\n---\n\nHello.\n",
	}})
	b.Insert(t, a)
	b.planner.Wake()
	require.True(t, b.outcome(t, a.ID).Queued)
	var title, author string
	var about []byte
	b.One(t, `select title, author, about from jobs where id = $1`, []any{a.ID}, &title, &author, &about)
	require.Equal(t, []string{long, long}, []string{title, author})
	var m job.Metadata
	require.NoError(t, json.Unmarshal(about, &m))
	require.Equal(t, job.Metadata{Series: "S", SeriesIndex: 2, Year: 1818}, m)
}
