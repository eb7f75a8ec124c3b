package single_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/e2e/internal/caller"
	"github.com/voicemill/voicemill/e2e/internal/stage"
	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/platform/testkit/weightstest"
)

// hearing returns the environment of a worker that has the voice joe and an ear.
func hearing(t *testing.T) []string {
	t.Helper()
	models := weightstest.Need(t, "joe", "whisper-base").Dir()
	return []string{"VOICEMILL_MODELS_DIR=" + models, "VOICEMILL_EAR_DIR=" + weightstest.Ear(t)}
}

// liar is an engine that speaks with espeak-ng, and not always what it is asked to: what
// a text with the word lighthouse says it says half the first time, and for one with the
// word bishop it says something else, each time differently.
type liar struct {
	mu    sync.Mutex
	asked map[string]int // texts, by how often
}

func (l *liar) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var q struct{ Input string }
	if err := json.NewDecoder(r.Body).Decode(&q); err != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	l.mu.Lock()
	l.asked[q.Input]++
	n := l.asked[q.Input]
	l.mu.Unlock()
	text := q.Input
	switch {
	case strings.Contains(text, "lighthouse") && n == 1:
		text = text[:len(text)*6/10]
	case strings.Contains(text, "bishop"):
		text = "A yellow train left the station at noon with eleven boxes of oranges" + strings.Repeat(" and apples", n) + "."
	}
	speak := exec.CommandContext(r.Context(), "espeak-ng", "-v", "en-us", "-s", "150", "--stdout")
	speak.Stdin = strings.NewReader(text)
	sound, err := speak.Output()
	if err != nil {
		w.WriteHeader(http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "audio/wav")
	_, _ = w.Write(sound)
}

const (
	plainSentence = "The harbour was quiet that morning, and nobody had seen the boat come in."
	cutOnce       = "She counted the steps up to the old lighthouse twice before she spoke to her brother."
	neverSaid     = "The tired bishop closed the heavy door behind him and walked slowly down to the river."
)

// Real models speak and listen. What is spoken as it is written is heard so; what is cut
// is condemned and spoken again, well; what is never spoken as it is written is delivered
// with what was heard instead.
func TestWhatIsSpokenIsHeardBack(t *testing.T) {
	t.Parallel()
	ctx := limited(t)
	engine := httptest.NewServer(&liar{asked: map[string]int{}})
	t.Cleanup(engine.Close)
	pools := filepath.Join(stage.Dir(t), "pools.json")
	raw, err := json.Marshal(map[string]any{"pools": []any{
		map[string]any{"name": "joe", "engine": "neural", "neural": map[string]any{"model": "joe", "helpers": 1}},
		map[string]any{"name": "liar", "engine": "openai-speech", "openai": map[string]any{
			"backends": []string{engine.URL}, "dialect": "generic", "model": "liar", "backend_sample_rate": 22050,
			"voices": map[string]any{"liar": map[string]any{"name": "liar", "language": "en"}},
		}},
	}})
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(pools, raw, 0o600))
	s := stage.NewSolo(t, bin, stage.SoloConfig{Env: append(hearing(t), "VOICEMILL_POOLS_FILE="+pools)})
	c := caller.New(t, s)

	spec := map[string]any{"input": map[string]any{"text": plainSentence}, "language": "en", "verify": "all"}
	doc, err := c.Submit(ctx, "", spec)
	require.NoError(t, err)
	doc, err = c.Await(ctx, string(doc.ID))
	require.NoError(t, err)
	requireSucceeded(t, doc)
	require.Equal(t, job.VerifyAll, doc.Quality.Verify)
	require.InDelta(t, 1, doc.Quality.HeardShare, 0)
	require.Zero(t, doc.Quality.Doubtful, "%+v", doc.Quality)
	require.LessOrEqual(t, doc.Quality.WordErrorRate, .15)

	again, err := c.Submit(ctx, "", spec)
	require.NoError(t, err)
	again, err = c.Await(ctx, string(again.ID))
	require.NoError(t, err)
	require.Equal(t, again.Progress.Segments.Total, again.Progress.Segments.Reused)
	require.Equal(t, doc.Quality, again.Quality, "what was heard is reused with the audio")

	doc, err = c.Submit(ctx, "", map[string]any{
		"input": map[string]any{"segments": []any{
			map[string]any{"text": plainSentence}, map[string]any{"text": cutOnce}, map[string]any{"text": neverSaid},
		}}, "voice": "liar", "verify": "all", "on_doubt": "retry",
	})
	require.NoError(t, err)
	doc, err = c.Await(ctx, string(doc.ID))
	require.NoError(t, err)
	requireSucceeded(t, doc)
	q := doc.Quality
	require.Equal(t, 3, q.Heard)
	require.Equal(t, 2, q.Redone, "%+v", q)
	require.Equal(t, 1, q.Doubtful, "%+v", q)
	require.Equal(t, 3, q.Stretches[0].Segment)
	require.Equal(t, 1, q.Stretches[0].Chapter)
	require.Greater(t, q.Stretches[0].StartSeconds, 4.0)
	require.Equal(t, neverSaid, q.Stretches[0].Text)
	require.Contains(t, strings.ToLower(q.Stretches[0].Heard), "station")
	require.Equal(t, 3, q.Stretches[0].Tries)
	condemned := counted(t, s, "voicemill_worker_heard_total", `verdict="other"`) + counted(t, s, "voicemill_worker_heard_total", `verdict="missing"`)
	require.InDelta(t, 4, condemned, 0, "the first try of the one, and three of the other")

	raw, err = c.Artifact(ctx, string(doc.ID), "manifest.json")
	require.NoError(t, err)
	var m struct {
		Quality  job.Quality
		Chapters []struct {
			Segments []struct {
				Verdict string
				Heard   *string
				Tries   int
			}
		}
	}
	require.NoError(t, json.Unmarshal(raw, &m))
	require.Equal(t, *q, m.Quality)
	parts := m.Chapters[0].Segments
	require.Empty(t, parts[1].Verdict)
	require.Equal(t, 2, parts[1].Tries)
	require.Contains(t, strings.ToLower(*parts[1].Heard), "before she spoke")
	require.Equal(t, "other", parts[2].Verdict)
}
