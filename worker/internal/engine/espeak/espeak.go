package espeak

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/platform/resample"
	"github.com/voicemill/voicemill/worker/internal/engine"
	"github.com/voicemill/voicemill/worker/internal/engine/espeak/wire"
)

const (
	name           = "espeak-ng"
	opSynthesize   = "espeak.Synthesize"
	normalWPM      = 175     // the library's default
	maxTextBytes   = 4 << 10 // about five minutes, well within MaxAudio
	silenceSeconds = 0.2
)

var errHung = errors.New("the helper did not answer in time")

// Engine is a pool of espeak-ng helper processes. It is safe for concurrent use.
type Engine struct {
	info      engine.Info
	native    map[string]string // public voice name to espeak-ng's
	cfg       Config
	free      chan *slot          // holds every slot that is not in use
	resampler *resample.Resampler // nil if the rate is the library's
	suspects  suspects
	calls     engine.Calls
	lastID    atomic.Uint64
}

var _ engine.Engine = (*Engine)(nil)

// New starts an Engine and its first helper, to find out early what is missing;
// ctx bounds that. The caller must call Close.
func New(ctx context.Context, cfg Config) (*Engine, error) {
	cfg = cfg.withDefaults()
	if err := cfg.validate(); err != nil {
		return nil, fmt.Errorf("espeak: %w", err)
	}
	path, err := FindHelper(cfg.Helper)
	if err != nil {
		return nil, err
	}
	first := &slot{path: path, cfg: cfg}
	if err := first.ready(ctx); err != nil {
		return nil, &job.Error{Op: "espeak.New", Kind: job.Unavailable, Public: "The speech engine could not be started.", Err: err}
	}
	e := &Engine{cfg: cfg, free: make(chan *slot, cfg.Helpers)}
	if cfg.Rate != nativeRate {
		if e.resampler, err = resample.New(nativeRate, cfg.Rate); err != nil {
			first.retire()
			return nil, fmt.Errorf("espeak: %w", err)
		}
	}
	e.free <- first
	for range cfg.Helpers - 1 {
		e.free <- &slot{path: path, cfg: cfg}
	}
	e.info = engine.Info{
		Name: name, Model: name + " " + first.helper.hello.Library, Rate: cfg.Rate,
		MaxBatch: cfg.MaxBatch, Window: cfg.Helpers, MaxTextBytes: maxTextBytes,
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
	for range e.cfg.Helpers { // no call is left, so every slot is here
		(<-e.free).retire()
	}
	return nil
}

func (e *Engine) speak(ctx context.Context, r *engine.Request) engine.Result {
	if err := r.Check(maxTextBytes); err != nil {
		return engine.Result{Err: err}
	}
	voice, ok := r.PickVoice(e.info.Voices, DefaultVoice)
	if !ok {
		return engine.Result{Err: &job.Error{Op: opSynthesize, Kind: job.Invalid, Public: fmt.Sprintf("There is no voice %q for language %q.", r.Voice, r.Language)}}
	}
	s := compose(r, e.info.Voices[voice].Language)
	q := wire.Request{
		ID:       e.lastID.Add(1),
		Voice:    e.native[e.info.Voices[voice].Name],
		WPM:      int(math.Round(normalWPM * r.Pace())),
		Phonemes: s.phonemes,
		Text:     s.text,
	}
	var place *slot
	select {
	case place = <-e.free:
	case <-ctx.Done():
		return engine.Result{Err: engine.CallError(opSynthesize, context.Cause(ctx))}
	}
	a, backend, err := e.ask(ctx, place, q, r.Seconds)
	e.free <- place
	if err != nil {
		return engine.Result{Backend: backend, Err: e.judge(ctx, r, err)}
	}
	e.suspects.clear(r.Text)
	result := e.result(r, s, a)
	result.Backend = backend
	return result
}

// ask has q answered within its deadline.
func (e *Engine) ask(ctx context.Context, place *slot, q wire.Request, predicted float64) (answer, string, error) {
	limit := e.cfg.MinTimeout
	if predicted > limit.Seconds() {
		limit = time.Duration(min(predicted, e.cfg.MaxAudio.Seconds()) * float64(time.Second))
	}
	ctx, cancel := context.WithTimeoutCause(ctx, limit, errHung)
	defer cancel()
	if err := place.ready(ctx); err != nil {
		return answer{}, "", &startError{err}
	}
	backend := "pid " + strconv.Itoa(place.helper.pid)
	a, err := place.speak(ctx, q)
	return a, backend, err
}

// judge turns what went wrong with a helper into the failure of r, and keeps
// account of texts that end helpers.
func (e *Engine) judge(ctx context.Context, r *engine.Request, err error) error {
	if ctx.Err() != nil {
		return engine.CallError(opSynthesize, context.Cause(ctx))
	}
	if _, ok := errors.AsType[*startError](err); ok {
		return &job.Error{Op: opSynthesize, Kind: job.Unavailable, Err: err}
	}
	deaths := e.suspects.blame(r.Text)
	e.cfg.Logger.WarnContext(ctx, "helper failed", slog.String("request", r.ID), slog.Int("deaths", deaths), slog.Any("error", err))
	if deaths > 1 {
		err = fmt.Errorf("%w, %d times: %w", engine.ErrPoison, deaths, err)
	}
	return &job.Error{Op: opSynthesize, Kind: job.Engine, Public: "The speech engine failed on this text.", Err: err}
}

func (e *Engine) result(r *engine.Request, s script, a answer) engine.Result {
	if a.done.Code != wire.CodeOK {
		return engine.Result{Err: &job.Error{
			Op: opSynthesize, Kind: job.Engine, Public: "The speech engine refused this text.",
			Err: fmt.Errorf("%s: %s", a.done.Code, a.done.Detail),
		}}
	}
	if !audible(a.samples) {
		if r.Speakable() {
			return engine.Result{Err: &job.Error{Op: opSynthesize, Kind: job.Engine, Public: "The speech engine spoke nothing."}}
		}
		return engine.Result{Audio: engine.Audio{Rate: e.cfg.Rate, Samples: make([]int16, int(silenceSeconds*float64(e.cfg.Rate)))}}
	}
	result := engine.Result{Audio: engine.Audio{Rate: nativeRate, Samples: a.samples}}
	result.Sentences, result.Words = s.marks(r.Text, a.events)
	if e.resampler != nil {
		result.Audio = engine.Audio{Rate: e.cfg.Rate, Samples: e.resampler.Resample(nil, a.samples)}
		for _, marks := range [][]engine.Mark{result.Sentences, result.Words} {
			for i := range marks {
				marks[i].Sample = marks[i].Sample * int64(e.cfg.Rate) / nativeRate
			}
		}
	}
	return result
}

// audible reports whether samples hold more than silence. The noise of a silent
// passage is exactly zero.
func audible(samples []int16) bool {
	for _, s := range samples {
		if s != 0 {
			return true
		}
	}
	return false
}
