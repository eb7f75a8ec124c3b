package neural

import (
	"context"
	"fmt"

	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/platform/resample"
	"github.com/voicemill/voicemill/platform/weights"
	"github.com/voicemill/voicemill/worker/internal/engine"
	"github.com/voicemill/voicemill/worker/internal/engine/helper"
	"github.com/voicemill/voicemill/worker/internal/engine/neural/ask"
)

const (
	name           = "neural"
	opSynthesize   = "neural.Synthesize"
	maxTextBytes   = 1 << 10 // about a minute
	silenceSeconds = 0.2

	// How long a byte of text is in speech, on the generous side: 12 a second.
	bytesPerSecond = 12
)

// Engine speaks through helpers that have one model. It is safe for concurrent use.
type Engine struct {
	info      engine.Info
	native    map[string]voice
	cfg       Config
	pool      *helper.Pool
	rate      int                 // of the model
	resampler *resample.Resampler // nil if the rate is the model's
	calls     engine.Calls
}

var (
	_ engine.Engine = (*Engine)(nil)
	_ engine.Prober = (*Engine)(nil)
)

// New verifies the model, starts an Engine and its first helper, to find out early
// what is missing; ctx bounds that. The caller must call Close.
func New(ctx context.Context, cfg Config) (*Engine, error) {
	cfg = cfg.withDefaults()
	if err := cfg.validate(); err != nil {
		return nil, fmt.Errorf("neural: %w", err)
	}
	path, err := helper.Find(HelperName, cfg.Helper)
	if err != nil {
		return nil, err
	}
	m, err := whole(cfg.Models, cfg.Model)
	if err != nil {
		return nil, err
	}
	library, err := whole(cfg.Models, weights.Library)
	if err != nil {
		return nil, err
	}
	model := cfg.describe(m, library.Dir)
	e := &Engine{cfg: cfg, rate: m.SampleRate}
	var public []engine.Voice
	if public, e.native, model.Blends, err = cfg.voices(m); err != nil {
		return nil, fmt.Errorf("neural: %w", err)
	}
	if e.cfg.Rate == 0 {
		e.cfg.Rate = e.rate
	}
	if e.cfg.Rate != e.rate {
		if e.resampler, err = resample.New(e.rate, e.cfg.Rate); err != nil {
			return nil, fmt.Errorf("neural: %w", err)
		}
	}
	pool, err := cfg.pool(path, model)
	if err != nil {
		return nil, fmt.Errorf("neural: %w", err)
	}
	if e.pool, err = helper.Open(ctx, pool); err != nil {
		return nil, &job.Error{
			Op: "neural.New", Kind: job.Unavailable, Err: err,
			Public: fmt.Sprintf("The model %q could not be started; if it is damaged, this mends it: voicemill models remove %s && %s", m.Name, m.Name, m.Mend()),
		}
	}
	e.info = engine.Info{
		Name: name, Model: fmt.Sprintf("%s %s (%s)", m.Name, m.Version, e.pool.Hello().Library), Rate: e.cfg.Rate, Voices: public,
		MaxBatch: cfg.MaxBatch, Window: e.pool.Size(), MaxTextBytes: maxTextBytes,
		Repeats: repeats[m.Family], Seeds: m.Family == weights.FamilyPiper,
	}
	return e, nil
}

// repeats are the families whose models throw no dice, as they are installed.
var repeats = map[string]bool{weights.FamilyPiper: true, weights.FamilyKokoro: true}

// whole returns an installed model whose files are what they were.
func whole(s weights.Store, name string) (weights.Installed, error) {
	m, err := s.Get(name)
	if err != nil {
		return m, err
	}
	return m, m.Verify()
}

// Info describes the engine.
func (e *Engine) Info() engine.Info { return e.info }

// Probe implements [engine.Prober].
func (e *Engine) Probe(ctx context.Context) error { return e.pool.Probe(ctx) }

// Synthesize speaks the requests of batch side by side, as far as there are
// helpers. See [engine.Engine].
func (e *Engine) Synthesize(ctx context.Context, batch []engine.Request) ([]engine.Result, error) {
	return engine.Each(ctx, opSynthesize, &e.calls, e.info.MaxBatch, batch, e.speak)
}

// Close ends calls in progress and every helper process, and returns when they
// are gone. A second call does nothing.
func (e *Engine) Close() error {
	if e.calls.Close() {
		e.pool.Close()
	}
	return nil
}

func (e *Engine) speak(ctx context.Context, r *engine.Request) engine.Result {
	if err := r.Check(maxTextBytes); err != nil {
		return engine.Result{Err: err}
	}
	at, ok := r.PickVoice(e.info.Voices, e.info.Voices[0].Name)
	if !ok {
		return engine.Result{Err: &job.Error{Op: opSynthesize, Kind: job.Invalid, Public: fmt.Sprintf("There is no voice %q for language %q.", r.Voice, r.Language)}}
	}
	if err := r.CheckVoice(e.info.Voices[at]); err != nil {
		return engine.Result{Err: err}
	}
	v := e.native[e.info.Voices[at].Name]
	s := compose(r)
	a, backend, err := e.pool.Speak(ctx, r, helper.Ask{
		Body:    ask.Request{Speaker: v.speaker, Espeak: v.espeak, Speed: r.Pace(), Seed: r.Seed, Sentences: s.sentences},
		Samples: int(float64(len(r.Text)) / bytesPerSecond * float64(e.rate) / r.Pace()), Events: len(s.sentences),
	})
	if err != nil {
		return engine.Result{Backend: backend, Err: err}
	}
	result := e.result(r, s, a)
	result.Backend = backend
	return result
}

func (e *Engine) result(r *engine.Request, s script, a helper.Answer) engine.Result {
	if !helper.Audible(a.Samples) {
		if r.Speakable() {
			return engine.Result{Err: &job.Error{Op: opSynthesize, Kind: job.Engine, Public: "The speech engine spoke nothing."}}
		}
		return engine.Result{Audio: engine.Audio{Rate: e.cfg.Rate, Samples: make([]int16, int(silenceSeconds*float64(e.cfg.Rate)))}}
	}
	result := engine.Result{Audio: engine.Audio{Rate: e.rate, Samples: a.Samples}, Placed: true}
	result.Sentences, result.Words = s.marks(r.Text, a.Events, a.Samples)
	if e.resampler != nil {
		result.Audio = engine.Audio{Rate: e.cfg.Rate, Samples: e.resampler.Resample(nil, a.Samples)}
		for _, marks := range [][]engine.Mark{result.Sentences, result.Words} {
			for i := range marks {
				marks[i].Sample = marks[i].Sample * int64(e.cfg.Rate) / int64(e.rate)
			}
		}
	}
	return result
}
