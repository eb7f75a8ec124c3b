package triton_test

import (
	"context"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/api/jobdoc"
	"github.com/voicemill/voicemill/e2e/internal/caller"
	"github.com/voicemill/voicemill/e2e/internal/novel"
	"github.com/voicemill/voicemill/e2e/internal/proctree"
	"github.com/voicemill/voicemill/e2e/internal/stage"
	"github.com/voicemill/voicemill/job"
)

var bin string // the folder with the built commands

func TestMain(m *testing.M) { os.Exit(stage.Main(m, &bin)) }

const (
	fewWords = 250 // without VOICEMILL_TRITON_WORDS
	longBook = 120 // segments, for which the aim holds
	aim      = 0.97
	lookEach = 200 * time.Millisecond
	backlog  = 4 * window // fewer segments than these are the end of a book, when instances have to idle
)

// TestABookOutOfATritonThatIsKilled has a book spoken by a Piper voice in a Triton that
// the worker runs, kills that server while there is a backlog, and holds that nothing is
// lost, doubled or charged. It prints the share of time in which the instances
// computed while there was a backlog; of a book long enough for that to mean something,
// it must be the aim. VOICEMILL_TRITON_WORDS says how long the book is,
// VOICEMILL_TRITON_BOOK which EPUB is spoken instead.
func TestABookOutOfATritonThatIsKilled(t *testing.T) {
	words, kills, limit := fewWords, 1, 10*time.Minute
	if v := os.Getenv("VOICEMILL_TRITON_WORDS"); v != "" {
		var err error
		words, err = strconv.Atoi(v)
		require.NoError(t, err)
		kills, limit = 2, 2*time.Hour
	}
	s, pools := prepare(t)
	defer http.DefaultClient.CloseIdleConnections()
	solo := stage.NewSolo(t, bin, stage.SoloConfig{Env: []string{"VOICEMILL_EAR=none"}, Args: []string{"--pools-file", pools}})
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()

	b := &bookkeeper{server: s, call: caller.New(t, solo)}
	doc, words := b.submit(ctx, t, words)
	begun := time.Now()
	for kill := 1; kill <= kills; kill++ {
		b.run(ctx, t, doc.ID, func(d jobdoc.Document) bool {
			return d.Progress.Segments.Total > 0 && d.Progress.Segments.Done >= d.Progress.Segments.Total*kill/(kills+1)
		})
		s.kill(t, solo.PID())
	}
	b.run(ctx, t, doc.ID, func(d jobdoc.Document) bool {
		return d.Progress.Segments.Total > 0 && d.Progress.Segments.Total-d.Progress.Segments.Done < backlog
	})
	doc, err := b.call.Await(ctx, string(doc.ID))
	require.NoError(t, err)
	took := time.Since(begun)

	p := doc.Progress
	require.Equal(t, job.StateSucceeded, doc.State, "%+v", doc)
	require.Equal(t, p.Segments.Total, p.Segments.Done)
	require.Equal(t, p.Chapters.Total, p.Chapters.Ready)
	spoken, failed := counted(ctx, t, solo)
	require.InDelta(t, float64(p.Segments.Total-p.Segments.Reused), spoken, 0, "each is spoken once")
	require.Zero(t, failed, "nothing is charged")
	occupancy := b.busy.Seconds() / (instances * b.wall.Seconds())
	t.Logf("%d words, %d segments, %d s of audio in %.0f s at load %s: %.1f times real time; server killed %d times, 0 lost\n"+
		"occupancy of %d instances while there was a backlog: %.3f over %.0f s; %.0f s of starts and admission are not in it; %.2f texts a call",
		words, p.Segments.Total, int(p.AudioSeconds), took.Seconds(), proctree.Load(), p.AudioSeconds/took.Seconds(), kills,
		instances, occupancy, b.wall.Seconds(), b.away.Seconds(), float64(b.texts)/float64(max(b.calls, 1)))
	if p.Segments.Total >= longBook {
		require.GreaterOrEqual(t, occupancy, aim)
	}
}

// bookkeeper follows a job and adds up how busy the server was.
type bookkeeper struct {
	server server
	call   *caller.Caller

	busy, wall, away time.Duration
	texts, calls     int
}

// submit hands the book in and returns how many words it has, 0 if nobody counted.
func (b *bookkeeper) submit(ctx context.Context, t *testing.T, words int) (jobdoc.Document, int) {
	t.Helper()
	text, words := novel.Book(words)
	media, document := job.MediaMarkdown, []byte(text)
	if path := os.Getenv("VOICEMILL_TRITON_BOOK"); path != "" {
		var err error
		document, err = os.ReadFile(path) //nolint:gosec // of whoever runs the test
		require.NoError(t, err)
		media, words = job.MediaEPUB, 0
	}
	upload, err := b.call.Upload(ctx, media, document)
	require.NoError(t, err)
	doc, err := b.call.Submit(ctx, "", map[string]any{"input": map[string]any{"upload": upload, "media_type": media}, "class": "bulk", "voice": "joe"})
	require.NoError(t, err)
	return doc, words
}

// run follows the job until enough says so. What the server does counts from the first
// segment that gets done in it: before that it loads its model, and the worker tries
// it. What is in progress then is counted whole, and what is in progress at the end
// not at all.
func (b *bookkeeper) run(ctx context.Context, t *testing.T, id job.ID, enough func(jobdoc.Document) bool) {
	t.Helper()
	begun, before := time.Now(), -1
	var first, last work
	for {
		doc, err := b.call.Job(ctx, string(id))
		require.NoError(t, err)
		require.Falsef(t, doc.State.Final(), "the job ended early: %+v", doc)
		if now, err := b.server.asked(ctx); err == nil {
			if before < 0 {
				before = doc.Progress.Segments.Done
			}
			if last = now; first.at.IsZero() && doc.Progress.Segments.Done > before {
				first = now
			}
		}
		if !first.at.IsZero() && enough(doc) {
			break
		}
		select {
		case <-ctx.Done():
			require.NoError(t, context.Cause(ctx), "%+v", doc.Progress)
		case <-time.After(lookEach):
		}
	}
	t.Logf("occupancy %.3f over %.0f s, load %s", (last.busy-first.busy).Seconds()/(instances*last.at.Sub(first.at).Seconds()), last.at.Sub(first.at).Seconds(), proctree.Load())
	b.away += first.at.Sub(begun)
	b.wall += last.at.Sub(first.at)
	b.busy += last.busy - first.busy
	b.texts += last.texts - first.texts
	b.calls += last.calls - first.calls
}

// counted returns how many segments the worker spoke and how many it failed.
func counted(ctx context.Context, t *testing.T, s *stage.Solo) (spoken, failed float64) {
	t.Helper()
	q, err := http.NewRequestWithContext(ctx, http.MethodGet, s.Admin()+"/metrics", nil)
	require.NoError(t, err)
	answer, err := http.DefaultClient.Do(q)
	require.NoError(t, err)
	defer func() { _ = answer.Body.Close() }()
	body, err := io.ReadAll(answer.Body)
	require.NoError(t, err)
	for line := range strings.Lines(string(body)) {
		if !strings.HasPrefix(line, "voicemill_worker_segments_total{") {
			continue
		}
		fields := strings.Fields(line)
		v, err := strconv.ParseFloat(fields[len(fields)-1], 64)
		require.NoError(t, err)
		switch {
		case strings.Contains(line, `outcome="spoken"`):
			spoken += v
		case strings.Contains(line, `outcome="failed"`):
			failed += v
		}
	}
	return spoken, failed
}
