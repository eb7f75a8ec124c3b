package book_test

import (
	"context"
	"os"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/api/jobdoc"
	"github.com/voicemill/voicemill/e2e/internal/caller"
	"github.com/voicemill/voicemill/e2e/internal/stage"
	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/platform/testkit"
)

const fewBooks = 3 // without VOICEMILL_BOOKS

// TestManyBooksAtOnce hands in one EPUB many times, each time at another speed,
// so that nothing is spoken twice for the same sound, and waits for all of them.
// VOICEMILL_BOOKS says how many, VOICEMILL_BOOK which file.
func TestManyBooksAtOnce(t *testing.T) {
	n, limit := fewBooks, testLimit
	if v := os.Getenv("VOICEMILL_BOOKS"); v != "" {
		var err error
		n, err = strconv.Atoi(v)
		require.NoError(t, err)
		limit = time.Hour
	}
	book, err := theEPUB()
	if path := os.Getenv("VOICEMILL_BOOK"); path != "" {
		book, err = os.ReadFile(path) //nolint:gosec // of whoever runs the test
	}
	require.NoError(t, err)
	solo := stage.NewSolo(t, bin, stage.SoloConfig{})
	call := caller.New(t, solo)
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()

	begin := time.Now()
	docs := make([]jobdoc.Document, n)
	var all sync.WaitGroup
	for i := range docs {
		upload, err := call.Upload(ctx, job.MediaEPUB, book)
		require.NoError(t, err)
		docs[i], err = call.Submit(ctx, strconv.Itoa(i), map[string]any{
			"input": map[string]any{"upload": upload, "media_type": job.MediaEPUB}, "class": "bulk", "speed": 1 + float64(i)/100,
		})
		require.NoError(t, err)
		all.Go(func() {
			var err error
			if docs[i], err = call.Await(ctx, string(docs[i].ID)); err != nil {
				t.Errorf("book %d: %v", i, err)
			}
		})
	}
	all.Wait()
	took, spoken, audio := time.Since(begin), 0, 0.0
	for i := range docs {
		p := docs[i].Progress
		require.Equal(t, job.StateSucceeded, docs[i].State)
		require.Positive(t, p.Segments.Total)
		require.Equal(t, p.Segments.Total, p.Segments.Done)
		require.Zero(t, p.Segments.Reused)
		require.Equal(t, p.Chapters.Total, p.Chapters.Ready)
		require.Len(t, docs[i].Artifacts, p.Chapters.Total+1)
		spoken, audio = spoken+p.Segments.Done, audio+p.AudioSeconds
	}
	listed, err := call.Segments(ctx, string(docs[0].ID))
	require.NoError(t, err)
	require.Len(t, listed, docs[0].Progress.Segments.Total)
	t.Logf("%d books, %d segments, %.1f h of audio in %.0f s: %.0f times real time; the program took %d MB at its peak",
		n, spoken, audio/3600, took.Seconds(), audio/took.Seconds(), testkit.PeakMemory(t, solo.PID())>>20)
}
