package espeak

import (
	"context"
	"fmt"
	"math"

	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/platform/resample"
	"github.com/voicemill/voicemill/worker/internal/engine"
	"github.com/voicemill/voicemill/worker/internal/engine/espeak/ask"
	"github.com/voicemill/voicemill/worker/internal/engine/helper"
)

const (
	name           = "espeak-ng"
	opSynthesize   = "espeak.Synthesize"
	normalWPM      = 175     // the library's default
	maxTextBytes   = 4 << 10 // about five minutes, well within MaxAudio
	silenceSeconds = 0.2

	// How long a byte of text is in speech, on the generous side in most languages:
	// 14 a second.
	samplesPerByte = nativeRate / 14

	// Far above what the library makes of a text: a character is at most a handful
	// of words.
	eventsPerByte = 64

	// A process keeps about half a kilobyte of each request.
	recycleAfter = 20_000
)

// Engine speaks through espeak-ng helper processes. It is safe for concurrent use.
type Engine struct {
	info      engine.Info
	native    map[string]string // public voice name to espeak-ng's
	cfg       Config
	pool      *helper.Pool
	resampler *resample.Resampler // nil if the rate is the library's
	calls     engine.Calls
}

var (
	_ engine.Engine = (*Engine)(nil)
	_ engine.Prober = (*Engine)(nil)
)

// New starts an Engine and its first helper, to find out early what is missing;
// ctx bounds that. The caller must call Close.
func New(ctx context.Context, cfg Config) (*Engine, error) {
	cfg = cfg.withDefaults()
	if err := cfg.validate(); err != nil {
		return nil, fmt.Errorf("espeak: %w", err)
	}
	path, err := helper.Find(HelperName, cfg.Helper)
	if err != nil {
		return nil, err
	}
	e := &Engine{cfg: cfg}
	if cfg.Rate != nativeRate {
		if e.resampler, err = resample.New(nativeRate, cfg.Rate); err != nil {
			return nil, fmt.Errorf("espeak: %w", err)
		}
	}
	if e.pool, err = helper.Open(ctx, cfg.pool(path)); err != nil {
		return nil, err
	}
	e.info = engine.Info{
		Name: name, Model: name + " " + e.pool.Hello().Library, Rate: cfg.Rate,
		MaxBatch: cfg.MaxBatch, Window: e.pool.Size(), MaxTextBytes: maxTextBytes, Repeats: true,
	}
	e.info.Voices, e.native = cfg.voices()
	return e, nil
}

// Info describes the engine.
func (e *Engine) Info() engine.Info { return e.info }

// Synthesize speaks the requests of batch side by side, as far as there are
// helpers. See [engine.Engine].
func (e *Engine) Synthesize(ctx context.Context, batch []engine.Request) ([]engine.Result, error) {
	return engine.Each(ctx, opSynthesize, &e.calls, e.info.MaxBatch, batch, e.speak)
}

// Close ends calls in progress and every helper process, and returns when they
// are gone. A second call does nothing.
func (e *Engine) Close() error {
	if !e.calls.Close() {
		return nil
	}
	e.pool.Close()
	return nil
}

// Probe implements [engine.Prober].
func (e *Engine) Probe(ctx context.Context) error { return e.pool.Probe(ctx) }

func (e *Engine) speak(ctx context.Context, r *engine.Request) engine.Result {
	if err := r.Check(maxTextBytes); err != nil {
		return engine.Result{Err: err}
	}
	voice, ok := r.PickVoice(e.info.Voices, DefaultVoice)
	if !ok {
		return engine.Result{Err: &job.Error{Op: opSynthesize, Kind: job.Invalid, Public: fmt.Sprintf("There is no voice %q for language %q.", r.Voice, r.Language)}}
	}
	if err := r.CheckVoice(e.info.Voices[voice]); err != nil {
		return engine.Result{Err: err}
	}
	s := compose(r, e.info.Voices[voice].Language)
	wpm := max(int(math.Round(normalWPM*r.Pace())), 1)
	a, backend, err := e.pool.Speak(ctx, r, helper.Ask{
		Body:    ask.Request{Voice: e.native[e.info.Voices[voice].Name], WPM: wpm, Phonemes: s.phonemes, Text: s.text},
		Samples: len(s.text) * samplesPerByte * normalWPM / wpm, Events: eventsPerByte*len(s.text) + 1024,
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
	result := engine.Result{Audio: engine.Audio{Rate: nativeRate, Samples: a.Samples}}
	result.Sentences, result.Words = s.marks(r.Text, a.Events)
	if e.resampler != nil {
		result.Audio = engine.Audio{Rate: e.cfg.Rate, Samples: e.resampler.Resample(nil, a.Samples)}
		for _, marks := range [][]engine.Mark{result.Sentences, result.Words} {
			for i := range marks {
				marks[i].Sample = marks[i].Sample * int64(e.cfg.Rate) / nativeRate
			}
		}
	}
	return result
}
