package knobs_test

import (
	"context"
	"encoding/json"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/e2e/enginesim"
	"github.com/voicemill/voicemill/e2e/internal/caller"
	"github.com/voicemill/voicemill/e2e/internal/stage"
	"github.com/voicemill/voicemill/job"
)

// Instructions go from the request to the engine, per job and per segment, make another
// rendition of a text, and are refused by name where a voice takes none.
func TestInstructionsReachTheEngine(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	web, rpc := simulate(t)
	reference := filepath.Join(stage.Dir(t), "reference.wav")
	recorded(t, reference)
	limits := func(extra map[string]any) map[string]any {
		extra["window"], extra["backend_sample_rate"] = 4, rate
		return extra
	}
	named := func(voice string) map[string]any {
		return map[string]any{voice: map[string]any{"name": "aria", "language": "en"}}
	}
	raw, err := json.Marshal(map[string]any{"pools": []any{
		map[string]any{"name": "acts", "engine": "openai-speech", "sample_rate": rate, "openai": limits(map[string]any{
			"backends": []string{"http://" + web}, "dialect": "vllm-omni", "instructions": true, "voices": named("actor"),
		})},
		map[string]any{"name": "clones", "engine": "triton", "sample_rate": rate, "triton": limits(map[string]any{
			"backends": []string{rpc}, "instructions": true,
			"voices": map[string]any{"clone": map[string]any{"language": "en", "ref_audio": reference, "ref_text": "What is said in it."}},
		})},
		map[string]any{"name": "reads", "engine": "openai-speech", "sample_rate": rate, "openai": limits(map[string]any{
			"backends": []string{"http://" + web}, "dialect": "vllm-omni", "voices": named("reader"),
		})},
	}})
	require.NoError(t, err)
	file := filepath.Join(stage.Dir(t), "pools.json")
	require.NoError(t, os.WriteFile(file, raw, 0o644)) //nolint:gosec // the stack runs as another user
	c := caller.New(t, stage.NewSolo(t, bin, stage.SoloConfig{Env: []string{"VOICEMILL_EAR=none", "VOICEMILL_POOLS_FILE=" + file}}))
	speak := func(voice, whole, own string) (reused int) {
		spec := map[string]any{"voice": voice, "input": map[string]any{"segments": []map[string]any{
			{"text": "It is late, and nobody is about."}, {"text": "Come here at once, all of you.", "instructions": own},
		}}}
		if whole != "" {
			spec["instructions"] = whole
		}
		doc, err := c.Submit(ctx, "", spec)
		require.NoError(t, err)
		doc, err = c.Await(ctx, string(doc.ID))
		require.NoError(t, err)
		require.Equal(t, job.StateSucceeded, doc.State, "%+v", doc.Failures)
		return doc.Progress.Segments.Reused
	}
	for _, voice := range []string{"actor", "clone"} {
		before := instructed(ctx, t, web)
		require.Zero(t, speak(voice, "warm<|endofprompt|>, unhurried", "angry"))
		require.Equal(t, 2, speak(voice, "warm<|endofprompt|>, unhurried", "angry"), "the same is not spoken again")
		require.Equal(t, 1, speak(voice, "", "angry"), "the one without instructions is another rendition")
		require.Equal(t, 1, speak(voice, "cold", "angry"))
		after := instructed(ctx, t, web)
		require.Equal(t, map[string]int{"warm , unhurried": 1, "angry": 1, "cold": 1}, difference(after, before))
	}

	a, err := c.Do(ctx, http.MethodPost, "/v1/jobs", []byte(`{"voice":"reader","instructions":"warm","input":{"text":"Hello."}}`), "Content-Type", "application/json")
	require.NoError(t, err)
	require.Equal(t, http.StatusUnprocessableEntity, a.Status)
	require.Contains(t, string(a.Body), `"pointer":"/instructions","detail":"voice \"reader\" takes no instructions; voices that take some: actor, clone"`)
	a, err = c.Do(ctx, http.MethodPost, "/v1/audio/speech", []byte(`{"model":"x","voice":"actor","instructions":"quick","input":"Hello again.","response_format":"wav"}`), "Content-Type", "application/json")
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, a.Status, "%s", a.Body)
	require.Equal(t, 1, instructed(ctx, t, web)["quick"])
	a, err = c.Do(ctx, http.MethodGet, "/v1/voices", nil)
	require.NoError(t, err)
	require.Contains(t, string(a.Body), `"name":"reader"`)
	var voices struct {
		Items []struct {
			Name         string
			Instructions bool
		}
	}
	require.NoError(t, json.Unmarshal(a.Body, &voices))
	for _, v := range voices.Items {
		require.Equal(t, v.Name != "reader", v.Instructions, v.Name)
	}
}

// simulate runs an engine until the test ends.
func simulate(t *testing.T) (web, rpc string) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	cfg := enginesim.DefaultConfig()
	cfg.Rate = rate
	sim, err := enginesim.New(cfg)
	require.NoError(t, err)
	listeners := make([]net.Listener, 2)
	for i := range listeners {
		listeners[i] = listen(ctx, t, "127.0.0.1:0")
	}
	var running sync.WaitGroup
	running.Go(func() {
		if err := sim.Serve(ctx, listeners[0], listeners[1]); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() { cancel(); running.Wait() })
	return listeners[0].Addr().String(), listeners[1].Addr().String()
}

// instructed returns how many texts the engine was asked for with which instructions.
func instructed(ctx context.Context, t *testing.T, web string) map[string]int {
	t.Helper()
	q, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+web+"/sim/stats", nil)
	require.NoError(t, err)
	q.Close = true
	resp, err := http.DefaultClient.Do(q)
	require.NoError(t, err)
	defer func() { require.NoError(t, resp.Body.Close()) }()
	var stats enginesim.Stats
	require.NoError(t, json.NewDecoder(resp.Body).Decode(&stats))
	return stats.Instructed
}

func difference(after, before map[string]int) map[string]int {
	more := map[string]int{}
	for k, n := range after {
		if n > before[k] {
			more[k] = n - before[k]
		}
	}
	return more
}
