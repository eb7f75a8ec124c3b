package openaispeech

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/platform/resample"
	"github.com/voicemill/voicemill/worker/internal/engine"
)

const (
	name           = "openai-speech"
	opSynthesize   = "openaispeech.Synthesize"
	speechPath     = "/v1/audio/speech"
	silenceSeconds = 0.2
	idleTimeout    = 90 * time.Second
	maxHeaderBytes = 64 << 10
)

var errHung = errors.New("the backend did not answer in time")

// Engine is a pool of backends that serve one model. It is safe for concurrent
// use.
type Engine struct {
	info      engine.Info
	cfg       Config
	voices    map[string]voice
	pool      *pool
	client    *http.Client
	transport *http.Transport
	resampler *resample.Resampler // nil if the rates are the same
	calls     engine.Calls
}

var _ engine.Engine = (*Engine)(nil)

// New returns an Engine. It reads the reference audio of the voices and does not
// talk to the backends. The caller must call Close.
func New(cfg Config) (*Engine, error) {
	cfg = cfg.withDefaults()
	if err := cfg.validate(); err != nil {
		return nil, fmt.Errorf("openaispeech: %w", err)
	}
	public, voices, err := cfg.prepare()
	if err != nil {
		return nil, fmt.Errorf("openaispeech: %w", err)
	}
	e := &Engine{cfg: cfg, voices: voices}
	if cfg.Rate != cfg.BackendRate {
		if e.resampler, err = resample.New(cfg.BackendRate, cfg.Rate); err != nil {
			return nil, fmt.Errorf("openaispeech: %w", err)
		}
	}
	backends := make([]*backend, len(cfg.Backends))
	for i, address := range cfg.Backends {
		u, err := url.Parse(address)
		if err != nil {
			return nil, fmt.Errorf("openaispeech: backend %d: %w", i+1, err)
		}
		backends[i] = &backend{name: u.Host, url: strings.TrimSuffix(address, "/") + speechPath}
	}
	e.pool = newPool(backends, cfg.Window, cfg.MinTimeout)
	e.transport = &http.Transport{
		DialContext:            (&net.Dialer{Timeout: cfg.ConnectTimeout, KeepAlive: 15 * time.Second}).DialContext,
		TLSHandshakeTimeout:    cfg.ConnectTimeout,
		MaxIdleConnsPerHost:    cfg.Window,
		IdleConnTimeout:        idleTimeout,
		MaxResponseHeaderBytes: maxHeaderBytes,
		DisableCompression:     true, // audio does not shrink, and a length that is known finds a cut
	}
	e.client = &http.Client{
		Transport:     e.transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	e.info = engine.Info{
		Name: name, Model: strings.TrimSpace(fmt.Sprintf("%s %s", cfg.Dialect, cfg.Model)), Rate: cfg.Rate, Voices: public,
		MaxBatch: cfg.MaxBatch, Window: cfg.Window * len(backends), MaxTextBytes: cfg.MaxTextBytes,
	}
	return e, nil
}

// Info describes the engine.
func (e *Engine) Info() engine.Info { return e.info }

// Synthesize sends the requests of batch, all at once as far as the windows of
// the backends allow. See [engine.Engine].
func (e *Engine) Synthesize(ctx context.Context, batch []engine.Request) ([]engine.Result, error) {
	return engine.Each(ctx, opSynthesize, &e.calls, e.info.MaxBatch, batch, e.speak)
}

// Close aborts calls in progress and closes the connections. A second call does
// nothing.
func (e *Engine) Close() error {
	e.calls.Close()
	e.transport.CloseIdleConnections()
	return nil
}

func (e *Engine) speak(ctx context.Context, r *engine.Request) engine.Result {
	if err := r.Check(e.info.MaxTextBytes); err != nil {
		return engine.Result{Err: err}
	}
	index, ok := r.PickVoice(e.info.Voices, e.cfg.Default)
	if !ok {
		return engine.Result{Err: &job.Error{Op: opSynthesize, Kind: job.Invalid, Public: fmt.Sprintf("There is no voice %q for language %q.", r.Voice, r.Language)}}
	}
	if !r.Speakable() {
		return engine.Result{Audio: engine.Audio{Rate: e.cfg.Rate, Samples: make([]int16, int(silenceSeconds*float64(e.cfg.Rate)))}}
	}
	body, maxTokens, err := e.cfg.body(r, e.voices[e.info.Voices[index].Name])
	if err != nil {
		return engine.Result{Err: &job.Error{Op: opSynthesize, Kind: job.Internal, Err: err}}
	}
	address, samples, err := e.send(ctx, r, body, maxTokens)
	if err != nil {
		return engine.Result{Backend: address, Err: e.judge(ctx, err)}
	}
	if e.resampler != nil {
		samples = e.resampler.Resample(nil, samples)
	}
	return engine.Result{Backend: address, Audio: engine.Audio{Rate: e.cfg.Rate, Samples: samples}}
}

// send has r answered by a backend that can be reached, and names it. To go on
// to the next backend when there is no connection is not a second attempt:
// nothing was sent.
func (e *Engine) send(ctx context.Context, r *engine.Request, body []byte, maxTokens int) (address string, samples []int16, err error) {
	for range e.cfg.Backends {
		var b *backend
		if b, err = e.pool.take(ctx); err != nil {
			break
		}
		address = b.name
		samples, err = e.ask(ctx, b, r, body, maxTokens)
		o := assess(ctx, err)
		e.pool.put(b, o)
		if err == nil {
			return address, samples, nil
		}
		e.cfg.Logger.WarnContext(ctx, "backend failed", slog.String("backend", address), slog.String("request", r.ID), slog.Any("error", err))
		if o.kind != unreachable {
			break
		}
	}
	return address, nil, err
}

// ask sends body to b and reads the answer, within the time for it.
func (e *Engine) ask(ctx context.Context, b *backend, r *engine.Request, body []byte, maxTokens int) ([]int16, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, e.timeout(r), errHung)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, b.url, bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("make request: %w", err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "audio/wav")
	// A server may close a connection just as we begin to use it again. An empty
	// key, which is not sent, lets net/http repeat the request on a new connection
	// if the old one ended before a byte of an answer.
	req.Header["Idempotency-Key"] = nil
	if !e.cfg.APIKey.IsZero() {
		req.Header.Set("Authorization", "Bearer "+e.cfg.APIKey.Reveal())
	}
	resp, err := e.client.Do(req)
	if err != nil {
		return nil, ended(ctx, err)
	}
	defer func() { _ = resp.Body.Close() }()
	samples, err := e.cfg.parse(resp, r, maxTokens, time.Now())
	if err != nil {
		return nil, ended(ctx, err)
	}
	return samples, nil
}

func (e *Engine) timeout(r *engine.Request) time.Duration {
	predicted := min(r.Expected(), e.cfg.MaxAudio.Seconds())
	queueing := e.cfg.MinTimeout / 3
	return max(e.cfg.MinTimeout, time.Duration(e.cfg.TimeoutFactor*predicted*float64(time.Second))+queueing)
}

// ended returns the cause of ctx if that has ended, else err.
func ended(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// assess tells what err, of a request in ctx, says about the backend.
func assess(ctx context.Context, err error) outcome {
	if err == nil {
		return outcome{kind: healthy}
	}
	if ctx.Err() != nil {
		return outcome{kind: neutral}
	}
	if status, ok := errors.AsType[*statusError](err); ok {
		switch kindOfStatus(status.status) {
		case job.Invalid:
			return outcome{kind: neutral}
		case job.Overloaded:
			return outcome{kind: busy, after: status.after, err: err}
		default:
			return outcome{kind: faulty, err: err}
		}
	}
	if isDial(err) {
		return outcome{kind: unreachable, err: err}
	}
	return outcome{kind: faulty, err: err}
}

// judge turns err into the failure of a request in ctx.
func (e *Engine) judge(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return engine.CallError(opSynthesize, context.Cause(ctx))
	}
	var status *statusError
	if !errors.As(err, &status) {
		if isDial(err) {
			return &job.Error{Op: opSynthesize, Kind: job.Unavailable, Err: err}
		}
		return &job.Error{Op: opSynthesize, Kind: job.Engine, Public: "The speech engine gave no usable answer.", Err: err}
	}
	failure := &job.Error{Op: opSynthesize, Kind: kindOfStatus(status.status), Err: err}
	switch failure.Kind {
	case job.Invalid:
		failure.Public = "The speech engine refused this text."
	case job.Engine:
		failure.Public = "The speech engine failed on this text."
	case job.Overloaded:
		if status.after > 0 {
			failure.Err = fmt.Errorf("%w: %w", err, &engine.BusyError{After: status.after})
		}
	default:
	}
	return failure
}

func kindOfStatus(status int) job.Kind {
	switch status {
	case http.StatusBadRequest, http.StatusRequestEntityTooLarge, http.StatusUnsupportedMediaType, http.StatusUnprocessableEntity:
		return job.Invalid
	case http.StatusTooManyRequests, http.StatusServiceUnavailable:
		return job.Overloaded
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound, http.StatusMethodNotAllowed,
		http.StatusRequestTimeout, http.StatusBadGateway, http.StatusGatewayTimeout: // the set-up, not the text
		return job.Unavailable
	}
	return job.Engine
}

// isDial reports whether there was no connection over which to send anything.
func isDial(err error) bool {
	var op *net.OpError
	var certificate *tls.CertificateVerificationError
	return (errors.As(err, &op) && op.Op == "dial") || errors.As(err, &certificate)
}
