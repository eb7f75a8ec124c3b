package triton

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"

	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/worker/internal/engine"
)

const (
	name           = "triton"
	opSynthesize   = "triton.Synthesize"
	silenceSeconds = 0.2
)

var errHung = errors.New("the backend did not answer in time")

// Engine speaks to one backend. It is safe for concurrent use.
type Engine struct {
	info   engine.Info
	cfg    Config
	voices map[string]reference
	conn   *grpc.ClientConn
	model  atomic.Pointer[model] // nil until it was asked for, and after a failure
	calls  engine.Calls
}

var _ engine.Engine = (*Engine)(nil)

// New returns an Engine for each of the backends, in their order. It reads the
// reference audio of the voices and does not talk to the backends. The caller must
// close every Engine.
func New(cfg Config) ([]*Engine, error) {
	cfg = cfg.withDefaults()
	if err := cfg.validate(); err != nil {
		return nil, fmt.Errorf("triton: %w", err)
	}
	public, voices, err := cfg.prepare()
	if err != nil {
		return nil, fmt.Errorf("triton: %w", err)
	}
	all := make([]*Engine, 0, len(cfg.Backends))
	for i, backend := range cfg.Backends {
		e := &Engine{cfg: cfg, voices: voices}
		at, err := parseAddress(backend)
		if err == nil {
			e.conn, err = dial(cfg, at)
		}
		if err != nil {
			for _, e := range all {
				err = errors.Join(err, e.Close())
			}
			return nil, fmt.Errorf("triton: backend %d: %w", i+1, err)
		}
		e.info = engine.Info{
			Name: name, Address: at.host, Model: name + " " + cfg.Model, Rate: cfg.BackendRate, Voices: public,
			MaxBatch: cfg.MaxBatch, Window: cfg.Window, MaxTextBytes: cfg.MaxTextBytes,
		}
		all = append(all, e)
	}
	return all, nil
}

// Info describes the engine.
func (e *Engine) Info() engine.Info { return e.info }

// Synthesize has the requests of batch spoken: each in a call of its own, all at once,
// or together where the model takes several. See [engine.Engine].
func (e *Engine) Synthesize(ctx context.Context, batch []engine.Request) ([]engine.Result, error) {
	return engine.Whole(ctx, opSynthesize, &e.calls, e.info.MaxBatch, batch, func(ctx context.Context, results []engine.Result) {
		var asks []ask
		for i := range batch {
			if a, ok := e.prepare(i, &batch[i], &results[i]); ok {
				asks = append(asks, a)
			}
		}
		if len(asks) > 0 {
			e.speak(ctx, asks, results)
		}
	})
}

// Close aborts calls in progress and closes the connection. A second call does nothing.
func (e *Engine) Close() error {
	if !e.calls.Close() {
		return nil
	}
	if err := e.conn.Close(); err != nil {
		return fmt.Errorf("triton: %w", err)
	}
	return nil
}

// prepare returns what the backend is asked for r. If ok is false it is not asked, and
// result is filled.
func (e *Engine) prepare(index int, r *engine.Request, result *engine.Result) (a ask, ok bool) {
	if err := r.Check(e.info.MaxTextBytes); err != nil {
		result.Err = err
		return ask{}, false
	}
	invalid := func(format string, args ...any) (ask, bool) {
		result.Err = &job.Error{Op: opSynthesize, Kind: job.Invalid, Public: fmt.Sprintf(format, args...)}
		return ask{}, false
	}
	voice, found := r.PickVoice(e.info.Voices, e.cfg.Default)
	if !found {
		return invalid("There is no voice %q for language %q.", r.Voice, r.Language)
	}
	if err := r.CheckVoice(e.info.Voices[voice]); err != nil {
		result.Err = err
		return ask{}, false
	}
	if r.Pace() != 1 {
		return invalid("The voice %q has one speed only; %g was asked for.", e.info.Voices[voice].Name, r.Speed)
	}
	plain := r.WithoutControls()
	if !plain.Speakable() {
		result.Audio = engine.Audio{Rate: e.cfg.BackendRate, Samples: make([]int16, int(silenceSeconds*float64(e.cfg.BackendRate)))}
		return ask{}, false
	}
	seconds := min(plain.Expected(), e.cfg.limitSeconds())
	return ask{index: index, id: r.ID, text: plain.Text, voice: e.voices[e.info.Voices[voice].Name].instructed(plain.Instructions), seconds: seconds}, true
}

// speak has asks spoken and fills their results.
func (e *Engine) speak(ctx context.Context, asks []ask, results []engine.Result) {
	m, err := e.inspect(ctx)
	if err != nil {
		e.fail(asks, results, e.explain(ctx, err))
		return
	}
	var calls sync.WaitGroup
	for from := 0; from < len(asks); from += m.together {
		some := asks[from:min(from+m.together, len(asks))]
		calls.Go(func() { e.call(ctx, m, some, results) })
	}
	calls.Wait()
}

// call has asks spoken in one call.
func (e *Engine) call(ctx context.Context, m model, asks []ask, results []engine.Result) {
	samples, err := e.infer(ctx, m, asks)
	if err != nil {
		e.model.Store(nil) // another may be there by now
		e.fail(asks, results, e.explain(ctx, err))
		return
	}
	for i, a := range asks {
		r := engine.Result{Backend: e.info.Address, Audio: engine.Audio{Rate: e.cfg.BackendRate, Samples: samples[i]}}
		if err := e.cfg.whole(samples[i]); err != nil {
			r = engine.Result{Backend: e.info.Address, Err: e.explain(ctx, err)}
		}
		results[a.index] = r
	}
}

func (e *Engine) fail(asks []ask, results []engine.Result, err error) {
	for _, a := range asks {
		results[a.index] = engine.Result{Backend: e.info.Address, Err: err}
	}
}

// timeout is the time for an answer to all of asks: the longest as in package
// openaispeech, and for those beside it what they last.
func (e *Engine) timeout(asks []ask) time.Duration {
	longest, sum := 0.0, 0.0
	for _, a := range asks {
		longest, sum = max(longest, a.seconds), sum+a.seconds
	}
	queueing := e.cfg.MinTimeout / 3
	return max(e.cfg.MinTimeout, time.Duration((e.cfg.TimeoutFactor*longest+sum-longest)*float64(time.Second))+queueing)
}
