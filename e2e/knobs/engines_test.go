package knobs_test

import (
	"bytes"
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
	"github.com/voicemill/voicemill/e2e/internal/stage"
	"github.com/voicemill/voicemill/platform/wav"
)

const rate = 8000 // Hz; nobody listens

// engines has a simulated engine for each row and protocol, by the name of its pool.
type engines struct {
	pools []map[string]any
	sims  map[string]*simulation
}

// openEngines starts an engine for each row and protocol.
func openEngines(t *testing.T) *engines {
	t.Helper()
	e := &engines{sims: map[string]*simulation{}}
	reference := filepath.Join(stage.Dir(t), "reference.wav")
	recorded(t, reference)
	for _, r := range all {
		for _, protocol := range r.protocols() {
			name := r.name(protocol)
			sim := supervise(t, r)
			e.sims[name] = sim
			pool := map[string]any{"name": name, "sample_rate": rate}
			limits := map[string]any{"window": 4, "backend_sample_rate": rate, "timeout_seconds": 1, "timeout_factor": 1.5}
			if protocol == overHTTP {
				pool["engine"], pool["openai"] = "openai-speech", limits
				limits["backends"], limits["dialect"] = []string{"http://" + sim.web}, "vllm-omni"
				limits["voices"] = map[string]any{name: map[string]any{"name": "aria", "language": "en"}}
			} else {
				pool["engine"], pool["triton"] = "triton", limits
				limits["backends"] = []string{sim.rpc}
				limits["voices"] = map[string]any{name: map[string]any{"language": "en", "ref_audio": reference, "ref_text": "A recording for " + name + "."}}
			}
			e.pools = append(e.pools, pool)
		}
	}
	return e
}

// recorded writes three seconds of sound.
func recorded(t *testing.T, file string) {
	t.Helper()
	sound := make([]int16, 3*16000)
	for i := range sound {
		sound[i] = int16(i % 4000)
	}
	require.NoError(t, os.WriteFile(file, wav.Encode(16000, sound), 0o644)) //nolint:gosec // the stack runs as another user
}

func (e *engines) poolsFile(t *testing.T) string {
	t.Helper()
	b, err := json.Marshal(map[string]any{"pools": e.pools})
	require.NoError(t, err)
	file := filepath.Join(stage.Dir(t), "pools.json")
	require.NoError(t, os.WriteFile(file, b, 0o644)) //nolint:gosec // likewise
	return file
}

// turn turns the knob of a row, for all that its engine speaks.
func (e *engines) turn(ctx context.Context, t *testing.T, r row, pool string) {
	t.Helper()
	if r.anew {
		e.sims[pool].build <- r.faults
		return
	}
	e.set(ctx, t, pool, r.faults)
}

// set sets the knobs of an engine.
func (e *engines) set(ctx context.Context, t *testing.T, pool string, faults enginesim.Faults) {
	t.Helper()
	body, err := json.Marshal(faults)
	require.NoError(t, err)
	q, err := http.NewRequestWithContext(ctx, http.MethodPut, "http://"+e.sims[pool].web+"/sim/faults", bytes.NewReader(body))
	require.NoError(t, err)
	q.Close = true
	resp, err := http.DefaultClient.Do(q)
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	require.Equal(t, http.StatusNoContent, resp.StatusCode)
}

// simulation is an engine with real sockets. It is started again at the same addresses
// whenever it crashes, as whoever runs servers has it done.
type simulation struct {
	web, rpc string
	build    chan enginesim.Faults // ends it, for another build to take its place
	built    chan struct{}         // closed when that is there
}

const restartAfter = 200 * time.Millisecond

// supervise runs the engine of a row until the test ends.
func supervise(t *testing.T, r row) *simulation {
	t.Helper()
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	var running sync.WaitGroup
	t.Cleanup(func() { cancel(); running.Wait() })
	a, b := listen(ctx, t, "127.0.0.1:0"), listen(ctx, t, "127.0.0.1:0")
	s := &simulation{web: a.Addr().String(), rpc: b.Addr().String(), build: make(chan enginesim.Faults), built: make(chan struct{})}
	cfg := enginesim.DefaultConfig()
	cfg.Rate = rate
	if r.meet { // texts meet only if they take time, on a busy machine half a second
		cfg.Cost = enginesim.Continuous{Curve: []enginesim.Point{{N: 1, Goodput: 8}, {N: 4, Goodput: 24}}}
	}
	running.Go(func() {
		for {
			life, crash := context.WithCancel(ctx)
			faults := cfg.Faults
			var built <-chan struct{}
			cfg.Crash = func() { crash(); <-ctx.Done() } // it says nothing more
			stopped := make(chan struct{})
			go func() { // ends with the life
				defer close(stopped)
				select {
				case faults = <-s.build:
					built = s.built
					crash()
				case <-life.Done():
				}
			}()
			sim, err := enginesim.New(cfg)
			if err == nil {
				err = sim.Serve(life, a, b)
			}
			crash()
			<-stopped
			cfg.Faults = faults
			if err != nil {
				t.Error(err)
				return
			}
			down := time.After(restartAfter)
			if built != nil {
				down = nil
			}
			select {
			case <-ctx.Done():
				return
			case <-down:
			case <-built:
			}
			if a, b = listen(ctx, t, s.web), listen(ctx, t, s.rpc); a == nil || b == nil {
				return
			}
		}
	})
	return s
}

func listen(ctx context.Context, t *testing.T, address string) net.Listener {
	t.Helper()
	var l net.ListenConfig
	open, err := l.Listen(ctx, "tcp", address)
	if err != nil && ctx.Err() == nil {
		t.Error(err)
	}
	return open
}
