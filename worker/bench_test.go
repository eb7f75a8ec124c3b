package worker

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/worker/internal/plantest"
)

// BenchmarkBook has a book of 200 segments spoken by espeak-ng, stored and
// joined, with a real database, bus and bucket on this machine.
func BenchmarkBook(b *testing.B) {
	w := newWorld(b)
	cfg := DefaultConfig()
	cfg.Pools = []Pool{{Name: "test", Engine: "espeak", Espeak: EspeakConfig{Helper: espeakHelper(b)}}}
	deps := w.deps(b)
	ready := make(chan struct{})
	deps.Ready = func() { close(ready) }
	background(b, func(ctx context.Context) error { return Run(ctx, cfg, deps) })
	<-ready
	book := 0
	for b.Loop() {
		book++
		var chapters []plantest.Chapter
		for c := range 4 {
			var segments []string
			for n := range 50 {
				segments = append(segments, fmt.Sprintf("Book %d, chapter %d, part %d. ", book, c, n)+strings.Repeat("The quick brown fox jumps over the lazy dog again. ", 4))
			}
			chapters = append(chapters, plantest.Sentences("A chapter", segments...))
		}
		p := plantest.Insert(b, w.db, plantest.Book{Chapters: chapters})
		begun := time.Now()
		plantest.Schedule(b, w.db, w.bus, p)
		require.Equal(b, job.StateSucceeded, plantest.AwaitEnd(b, w.db, p, 5*time.Minute))
		took := time.Since(begun).Seconds()
		b.ReportMetric(w.manifest(b, p.ID).Totals.AudioSeconds/took, "audio-s/s")
		b.ReportMetric(200/took, "segments/s")
	}
}
