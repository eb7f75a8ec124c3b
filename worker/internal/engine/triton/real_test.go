package triton

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/worker/internal/check"
	"github.com/voicemill/voicemill/worker/internal/engine"
	"github.com/voicemill/voicemill/worker/internal/engine/enginetest"
)

// tritonHome is where `scripts/setup test` puts a real Triton Inference Server, and
// ours is the model that it serves: CosyVoice3's tensors, spoken by espeak-ng.
const (
	tritonHome = "../../../../.cache/triton-0.7.0"
	ours       = "../../../../deployments/engines/triton"
)

// realServer is a Triton Inference Server on the CPU.
type realServer struct {
	models     string
	http, grpc string
	process    *exec.Cmd
	ended      chan struct{}
	log        bytes.Buffer // may be read when ended is closed
}

// startTriton starts a server of models: the changes to the configuration of ours, by
// name. All but piper are one more cosyvoice3.
func startTriton(t *testing.T, models map[string][]string) *realServer {
	t.Helper()
	if why, err := os.ReadFile(filepath.Join(tritonHome, "unavailable")); err == nil && os.Getenv("CI") == "" {
		t.Skipf("no Triton on this machine: %s", why)
	}
	s := &realServer{models: t.TempDir(), http: freePort(t), grpc: freePort(t)}
	for name, changes := range models {
		source := filepath.Join(ours, "cosyvoice3")
		if name == "piper" {
			source = filepath.Join(ours+"-piper", name)
		}
		dir := filepath.Join(s.models, name)
		require.NoError(t, os.CopyFS(dir, os.DirFS(source)))
		config, err := os.ReadFile(filepath.Join(source, "config.pbtxt"))
		require.NoError(t, err)
		text := bytes.Replace(config, []byte(`name: "cosyvoice3"`), []byte(`name: "`+name+`"`), 1)
		for i := 0; i+1 < len(changes); i += 2 {
			require.Contains(t, string(text), changes[i])
			text = bytes.Replace(text, []byte(changes[i]), []byte(changes[i+1]), 1)
		}
		require.NoError(t, os.WriteFile(filepath.Join(dir, "config.pbtxt"), text, 0o600))
	}
	s.start(t)
	t.Cleanup(func() {
		s.kill()
		if t.Failed() {
			t.Logf("Triton said:\n%s", s.log.String())
		}
	})
	return s
}

func (s *realServer) start(t *testing.T) {
	t.Helper()
	s.process = exec.Command(filepath.Join(ours, "serve"), s.models, s.http, s.grpc) //nolint:noctx,gosec // kill ends it
	s.process.Stdout, s.process.Stderr = &s.log, &s.log
	s.process.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	require.NoError(t, s.process.Start(), "run scripts/setup test")
	s.ended = make(chan struct{})
	go func() { // ends with the process
		_ = s.process.Wait()
		close(s.ended)
	}()
	for deadline := time.Now().Add(3 * time.Minute); ; {
		answer, err := http.Get("http://127.0.0.1:" + s.http + "/v2/health/ready") //nolint:noctx // on this machine
		if err == nil {
			_ = answer.Body.Close()
			if answer.StatusCode == http.StatusOK {
				http.DefaultClient.CloseIdleConnections()
				return
			}
		}
		select {
		case <-s.ended:
			t.Fatalf("Triton ended:\n%s", s.log.String())
		case <-time.After(50 * time.Millisecond):
			require.False(t, time.Now().After(deadline), "Triton is not ready")
		}
	}
}

// kill ends the server and its models at once.
func (s *realServer) kill() {
	_ = syscall.Kill(-s.process.Process.Pid, syscall.SIGKILL)
	<-s.ended
}

func freePort(t *testing.T) string {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer func() { require.NoError(t, l.Close()) }()
	_, port, err := net.SplitHostPort(l.Addr().String())
	require.NoError(t, err)
	return port
}

func (s *realServer) config(t *testing.T, model string) Config {
	t.Helper()
	return Config{
		Backends: []string{"127.0.0.1:" + s.grpc}, Model: model, MaxBatch: 16, Window: 4, MinTimeout: 30 * time.Second,
		MaxTokens: 4000, // the suite has a text of 1024 characters
		Voices:    map[string]Voice{"anna": {RefAudio: recording(t, 24000, 3), RefText: "What is said.", Language: "en"}},
	}
}

// largestBatch returns the most requests that the server put together for a model.
func (s *realServer) largestBatch(t *testing.T, model string) (most int) {
	t.Helper()
	answer, err := http.Get("http://127.0.0.1:" + s.http + "/v2/models/" + model + "/stats") //nolint:noctx // on this machine
	require.NoError(t, err)
	defer func() { _ = answer.Body.Close(); http.DefaultClient.CloseIdleConnections() }()
	var stats struct {
		Models []struct {
			Batches []struct {
				Size int `json:"batch_size"`
			} `json:"batch_stats"`
		} `json:"model_stats"`
	}
	require.NoError(t, json.NewDecoder(answer.Body).Decode(&stats))
	for _, b := range stats.Models[0].Batches {
		most = max(most, b.Size)
	}
	return most
}

// mortal is a change by which a text with that word ends the model.
var mortal = []string{"input [", `parameters { key: "dies_on" value { string_value: "mortal" } }` + "\ninput ["}

func TestARealTriton(t *testing.T) {
	t.Parallel()
	s := startTriton(t, map[string][]string{
		"cosyvoice3": nil,
		"streaming":  {"decoupled: false", "decoupled: true"},
		"batching":   {"max_queue_delay_microseconds: 0", "max_queue_delay_microseconds: 5000000"},
		"mortal":     mortal,
	})
	t.Run("models", func(t *testing.T) {
		t.Run("unary", func(t *testing.T) { t.Parallel(); s.conforms(t, "cosyvoice3") })
		t.Run("decoupled", func(t *testing.T) { t.Parallel(); s.conforms(t, "streaming") })
		t.Run("a batch of 16", func(t *testing.T) { t.Parallel(); s.batches(t) })
		t.Run("a model that dies", func(t *testing.T) { t.Parallel(); s.dies(t) })
	})
}

func (s *realServer) conforms(t *testing.T, model string) {
	t.Helper()
	enginetest.Run(t, func(t *testing.T) engine.Engine { return open(t, s.config(t, model)) })
	e := open(t, s.config(t, model))
	q := enginetest.Request("This is a real voice out of a real server, and anybody can understand it.")
	r := speakOne(t, e, q)
	enginetest.Good(t, e, q, r)
	limits := check.Default()
	verdict := check.Judge(limits, r.Audio.Samples, r.Audio.Rate, limits.Rough(q.Seconds))
	require.Truef(t, verdict.OK, "%+v", verdict)
	cfg := s.config(t, model)
	cfg.MaxTokens = int(r.Audio.Seconds() * tokensPerSecond) // as if the model had been stopped there
	require.ErrorIs(t, speakOne(t, open(t, cfg), q).Err, errLimit)
}

func TestAPiperVoiceBehindARealTriton(t *testing.T) {
	t.Parallel()
	s := startTriton(t, map[string][]string{"piper": {"count: 2", "count: 1"}})
	cfg := s.config(t, "piper")
	cfg.BackendRate = 22050
	e := open(t, cfg)
	batch := []engine.Request{
		enginetest.Request("This is a real voice out of a real server, and anybody can understand it."),
		enginetest.Request(`"Is that so?" she said. Nobody answered; it rained.`),
		enginetest.Request("Three of them went to the old mill by the river."),
	}
	results, err := e.Synthesize(t.Context(), batch)
	require.NoError(t, err)
	limits := check.Default()
	for i, r := range results {
		enginetest.Good(t, e, batch[i], r)
		verdict := check.Judge(limits, r.Audio.Samples, r.Audio.Rate, limits.Rough(batch[i].Seconds))
		require.Truef(t, verdict.OK, "%q: %+v", batch[i].Text, verdict)
	}
}

func (s *realServer) batches(t *testing.T) {
	t.Helper()
	e := open(t, s.config(t, "batching"))
	batch := make([]engine.Request, 16)
	for i := range batch {
		batch[i] = enginetest.Request(enginetest.Sentence(i))
	}
	results, err := e.Synthesize(t.Context(), batch)
	require.NoError(t, err)
	for i, r := range results {
		enginetest.Good(t, e, batch[i], r)
	}
	require.Equal(t, 16, s.largestBatch(t, "batching"))
}

// A model whose process ended stays loaded, and says so, until its server is restarted.
func (s *realServer) dies(t *testing.T) {
	t.Helper()
	e := open(t, s.config(t, "mortal"))
	well := enginetest.Request("All is well.")
	enginetest.Good(t, e, well, speakOne(t, e, well))
	for _, text := range []string{"All of us are mortal.", "Is anybody there?"} {
		err := speakOne(t, e, enginetest.Request(text)).Err
		require.Equal(t, job.Engine, job.KindOf(err), "%v", err)
		require.ErrorIs(t, err, engine.ErrLost)
	}
	require.NoError(t, e.Probe(t.Context()), "Triton says more by now: say so in docs/engines.md")
}

func TestARealTritonThatIsKilledCostsNoText(t *testing.T) {
	t.Parallel()
	s := startTriton(t, map[string][]string{"mortal": mortal})
	cfg := s.config(t, "mortal")
	f := fleetOf(t, cfg)
	await(t, f, true)
	var wg sync.WaitGroup
	errs := make([]error, 8)
	for i := range errs {
		wg.Go(func() { errs[i] = insist(t, f, fmt.Sprintf("Text %d is spoken, whatever happens.", i)) })
	}
	s.kill()
	r := speakOne(t, open(t, cfg), enginetest.Request("Nobody is there."))
	require.Equal(t, job.Unavailable, job.KindOf(r.Err), "%v", r.Err)
	await(t, f, false)
	s.start(t)
	wg.Wait()
	for _, err := range errs {
		require.NoError(t, err)
	}

	// Somebody restarts the server whenever it is dead.
	poisoned := make(chan error, 1)
	go func() { poisoned <- insist(t, f, "All of us are mortal.") }() // is waited for below
	for restarts := 0; ; {
		ready, changed := f.Ready()
		if !ready {
			restarts++
			require.Less(t, restarts, 8)
			s.kill()
			s.start(t)
			await(t, f, true)
			continue
		}
		select {
		case err := <-poisoned:
			require.ErrorIs(t, err, engine.ErrPoison)
			require.NoError(t, insist(t, f, "The others live on."))
			return
		case <-changed:
		}
	}
}
