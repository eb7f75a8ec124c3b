package openaispeech

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"github.com/voicemill/voicemill/job"
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

var (
	errHung  = errors.New("the backend did not answer in time")
	errEnded = errors.New("the backend ended with the request")
)

// Engine speaks to one backend. It is safe for concurrent use.
type Engine struct {
	info      engine.Info
	cfg       Config
	voices    map[string]voice
	url       string
	client    *http.Client
	transport *http.Transport
	calls     engine.Calls
}

var _ engine.Engine = (*Engine)(nil)

// New returns an Engine for each of the backends, in their order. It reads the
// reference audio of the voices and does not talk to the backends. The caller must
// close every Engine.
func New(cfg Config) ([]*Engine, error) {
	cfg = cfg.withDefaults()
	if err := cfg.validate(); err != nil {
		return nil, fmt.Errorf("openaispeech: %w", err)
	}
	public, voices, err := cfg.prepare()
	if err != nil {
		return nil, fmt.Errorf("openaispeech: %w", err)
	}
	all := make([]*Engine, len(cfg.Backends))
	for i, address := range cfg.Backends {
		u, err := url.Parse(address)
		if err != nil {
			return nil, fmt.Errorf("openaispeech: backend %d: %w", i+1, err)
		}
		all[i] = newEngine(cfg, u, voices)
		all[i].info = engine.Info{
			Name: name, Address: u.Host, Model: strings.TrimSpace(fmt.Sprintf("%s %s", cfg.Dialect, cfg.Model)), Rate: cfg.BackendRate, Voices: public,
			MaxBatch: cfg.MaxBatch, Window: cfg.Window, MaxTextBytes: cfg.MaxTextBytes,
		}
	}
	return all, nil
}

func newEngine(cfg Config, base *url.URL, voices map[string]voice) *Engine {
	e := &Engine{cfg: cfg, voices: voices, url: strings.TrimSuffix(base.String(), "/") + speechPath}
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
	return e
}

// Info describes the engine.
func (e *Engine) Info() engine.Info { return e.info }

// Synthesize sends the requests of batch, all at once. See [engine.Engine].
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
	if err := r.CheckVoice(e.info.Voices[index]); err != nil {
		return engine.Result{Err: err}
	}
	plain := r.WithoutControls()
	if !plain.Speakable() {
		return engine.Result{Audio: engine.Audio{Rate: e.cfg.BackendRate, Samples: make([]int16, int(silenceSeconds*float64(e.cfg.BackendRate)))}}
	}
	body, maxTokens, err := e.cfg.body(&plain, e.voices[e.info.Voices[index].Name])
	if err != nil {
		return engine.Result{Err: &job.Error{Op: opSynthesize, Kind: job.Internal, Err: err}}
	}
	samples, err := e.ask(ctx, &plain, body, maxTokens)
	if err != nil {
		return engine.Result{Backend: e.info.Address, Err: e.explain(ctx, err)}
	}
	return engine.Result{Backend: e.info.Address, Audio: engine.Audio{Rate: e.cfg.BackendRate, Samples: samples}}
}

// ask sends body and reads the answer, within the time for it.
func (e *Engine) ask(ctx context.Context, r *engine.Request, body []byte, maxTokens int) ([]int16, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, e.timeout(r), errHung)
	defer cancel()
	var sent atomic.Bool // to a backend, over whatever connection
	traced := httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{WroteRequest: func(w httptrace.WroteRequestInfo) {
		if w.Err == nil {
			sent.Store(true)
		}
	}})
	req, err := http.NewRequestWithContext(traced, http.MethodPost, e.url, bytes.NewReader(body))
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
	if err != nil && sent.Load() && isDial(err) { // it took the request, ended, and takes no other connection
		err = fmt.Errorf("%w: %s", errEnded, err) //nolint:errorlint // it is no failure to connect
	}
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

// explain turns err into the failure of a request in ctx.
func (e *Engine) explain(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return engine.CallError(opSynthesize, context.Cause(ctx))
	}
	failure := &job.Error{Op: opSynthesize, Kind: job.Engine, Err: err}
	var status *statusError
	switch {
	case isDial(err):
		failure.Kind = job.Unavailable
	case errors.As(err, &status):
		failure.Kind, failure.Public = kindOfStatus(status.status)
		if failure.Kind == job.Overloaded && status.after > 0 {
			failure.Err = fmt.Errorf("%w: %w", err, &engine.BusyError{After: status.after})
		}
	case errors.Is(err, errNoAnswer):
		failure.Public = "The speech engine gave no usable answer."
	default: // it hung, or the connection broke
		failure.Public, failure.Err = "The speech engine gave no answer.", fmt.Errorf("%w: %w", engine.ErrLost, err)
	}
	return failure
}

// kindOfStatus says what an answer other than 200 means, and how the owner of a
// text is told if it turns out to be the text's fault.
func kindOfStatus(status int) (job.Kind, string) {
	switch {
	case status == http.StatusTooManyRequests || status == http.StatusServiceUnavailable:
		return job.Overloaded, ""
	case status >= 400 && status < 500 && status != http.StatusRequestTimeout:
		return job.Invalid, fmt.Sprintf("The speech engine refused this text (status %d).", status)
	}
	return job.Engine, fmt.Sprintf("The speech engine failed on this text (status %d).", status)
}

// isDial reports whether there was no connection over which to send anything.
func isDial(err error) bool {
	var op *net.OpError
	var certificate *tls.CertificateVerificationError
	return (errors.As(err, &op) && op.Op == "dial") || errors.As(err, &certificate)
}
