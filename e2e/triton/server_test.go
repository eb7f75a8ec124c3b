package triton_test

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/e2e/internal/proctree"
	"github.com/voicemill/voicemill/e2e/internal/stage"
	"github.com/voicemill/voicemill/platform/testkit/weightstest"
	"github.com/voicemill/voicemill/platform/wav"
)

const (
	instances = 2 // as the model's configuration has it
	window    = 3 * instances
	rateHz    = 22050
)

// server is a Triton that a worker starts by itself, with the model that we ship.
type server struct {
	models string // its folder, by which its process is known
	http   string // host:port
}

// prepare makes a folder of models and the pools file of a worker that serves it.
func prepare(t *testing.T) (s server, pools string) {
	t.Helper()
	engines, err := filepath.Abs("../../deployments/engines")
	require.NoError(t, err)
	if why, err := os.ReadFile("../../.cache/triton-0.7.0/unavailable"); err == nil && os.Getenv("CI") == "" {
		t.Skipf("no Triton on this machine: %s", why)
	}
	dir := stage.Dir(t)
	s = server{models: filepath.Join(dir, "models"), http: stage.FreeAddr(t)}
	require.NoError(t, os.CopyFS(s.models, os.DirFS(filepath.Join(engines, "triton-piper"))))
	path := filepath.Join(s.models, "piper", "config.pbtxt")
	config, err := os.ReadFile(path) //nolint:gosec // of this test
	require.NoError(t, err)
	require.Contains(t, string(config), fmt.Sprintf("count: %d", instances))
	config = fmt.Appendf(config, "parameters { key: \"voice\" value { string_value: %q } }\n", filepath.Join(weightstest.Need(t, "joe").Dir(), "joe"))
	require.NoError(t, os.WriteFile(path, config, 0o600))

	_, port, err := net.SplitHostPort(s.http)
	require.NoError(t, err)
	pool := map[string]any{
		"name": "piper", "engine": "triton", "sample_rate": rateHz,
		"command": map[string]any{"argv": []string{filepath.Join(engines, "triton", "serve"), s.models, port, "{port}"}, "alone": true},
		"triton": map[string]any{
			"model": "piper", "backend_sample_rate": rateHz, "window": window,
			"voices": map[string]any{"joe": map[string]any{"language": "en", "ref_audio": anything(t, dir), "ref_text": "Anything."}},
		},
	}
	b, err := json.Marshal(map[string]any{"pools": []any{pool}})
	require.NoError(t, err)
	pools = filepath.Join(dir, "pools.json")
	require.NoError(t, os.WriteFile(pools, b, 0o600))
	return s, pools
}

// anything is a recording, which the protocol asks for and a Piper voice does not use.
func anything(t *testing.T, dir string) string {
	t.Helper()
	samples := make([]int16, 2*rateHz)
	for i := range samples {
		samples[i] = int16(8000 * math.Sin(2*math.Pi*200*float64(i)/rateHz))
	}
	path := filepath.Join(dir, "any.wav")
	require.NoError(t, os.WriteFile(path, wav.Encode(rateHz, samples), 0o600))
	return path
}

// kill ends the server as a crash would.
func (s server) kill(t *testing.T, worker int) {
	t.Helper()
	for _, p := range proctree.Below(worker) {
		if p.Name == "tritonserver" && strings.Contains(p.Command(), s.models) {
			require.NoError(t, syscall.Kill(p.PID, syscall.SIGKILL))
			return
		}
	}
	t.Fatal("no server runs")
}

// work is what the server's own statistics say of the model since it started.
type work struct {
	at    time.Time
	texts int
	calls int           // of an instance
	busy  time.Duration // of all instances together
}

type duration struct {
	Count int   `json:"count"`
	NS    int64 `json:"ns"`
}

// asked returns the statistics; an error while the server is away.
func (s server) asked(ctx context.Context) (work, error) {
	q, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+s.http+"/v2/models/piper/stats", nil)
	if err != nil {
		return work{}, err
	}
	answer, err := http.DefaultClient.Do(q)
	if err != nil {
		return work{}, err
	}
	defer func() { _ = answer.Body.Close() }()
	var stats struct {
		Models []struct {
			Texts   int `json:"inference_count"`
			Calls   int `json:"execution_count"`
			Batches []struct {
				Input  duration `json:"compute_input"`
				Infer  duration `json:"compute_infer"`
				Output duration `json:"compute_output"`
			} `json:"batch_stats"`
		} `json:"model_stats"`
	}
	if err := json.NewDecoder(answer.Body).Decode(&stats); err != nil {
		return work{}, err
	}
	if len(stats.Models) == 0 {
		return work{}, fmt.Errorf("the server has no statistics of the model; status %d", answer.StatusCode)
	}
	w := work{at: time.Now(), texts: stats.Models[0].Texts, calls: stats.Models[0].Calls}
	for _, b := range stats.Models[0].Batches { // a call counts once, however many texts it has
		w.busy += time.Duration(b.Input.NS + b.Infer.NS + b.Output.NS)
	}
	return w, nil
}
