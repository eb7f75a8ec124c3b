package single_test

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/api/jobdoc"
	"github.com/voicemill/voicemill/e2e/internal/caller"
	"github.com/voicemill/voicemill/e2e/internal/proctree"
	"github.com/voicemill/voicemill/e2e/internal/stage"
	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/platform/testkit/weightstest"
)

// How much of a job is through at each look at the memory, and how much more it may be at
// the end than when a quarter was through.
const (
	looks     = 20
	mayGrow   = 1.15
	mayGrowBy = 24 << 20 // bytes; the collector's own tide
)

// However many segments a neural voice has spoken, the program and the helpers are no
// larger for it. VOICEMILL_FLAT_SEGMENTS says how many; a few show only that it is measured.
func TestManySegmentsPassInFlatMemory(t *testing.T) {
	n := looks
	if v := os.Getenv("VOICEMILL_FLAT_SEGMENTS"); v != "" {
		var err error
		n, err = strconv.Atoi(v)
		require.NoError(t, err)
	}
	ctx := t.Context()
	s := stage.NewSolo(t, bin, stage.SoloConfig{Env: []string{"VOICEMILL_MODELS_DIR=" + weightstest.Need(t, "joe").Dir()}})
	c := caller.New(t, s)
	var text strings.Builder
	for i := range n {
		fmt.Fprintf(&text, "Boat %d.\n\n", i+1)
	}
	doc, err := c.Submit(ctx, "", map[string]any{"input": map[string]any{"text": text.String(), "media_type": job.MediaMarkdown}, "language": "en", "class": "bulk"})
	require.NoError(t, err)
	var program, helpers []int64 // bytes
	for look := range looks {
		doc, err = c.Until(ctx, string(doc.ID), func(d jobdoc.Document) bool {
			return d.State.Final() || d.Progress.Segments.Done*looks > look*d.Progress.Segments.Total && d.Progress.Segments.Done > 0
		})
		require.NoError(t, err)
		processes, largest := proctree.Below(s.PID()), int64(0)
		require.NotEmpty(t, processes, "the program has ended")
		program = append(program, processes[0].Field("VmRSS"))
		for _, p := range processes[1:] {
			if strings.Contains(p.Command(), "voicemill-neural") {
				largest = max(largest, p.Field("VmRSS"))
			}
		}
		helpers = append(helpers, largest)
	}
	doc, err = c.Await(ctx, string(doc.ID))
	require.NoError(t, err)
	requireSucceeded(t, doc)
	require.Equal(t, n, doc.Progress.Segments.Total)
	for name, sizes := range map[string][]int64{"the program": program, "the largest helper": helpers} {
		early, late := slices.Max(sizes[looks/4:looks/2]), slices.Max(sizes[looks*3/4:])
		t.Logf("%s over %d segments, MB: %v", name, n, megabytes(sizes))
		require.LessOrEqual(t, float64(late), mayGrow*float64(early)+mayGrowBy, name)
	}
}

func megabytes(sizes []int64) []int64 {
	mb := make([]int64, len(sizes))
	for i, s := range sizes {
		mb[i] = s >> 20
	}
	return mb
}
