package transcribe

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"mime/multipart"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/platform/wav"
	"github.com/voicemill/voicemill/worker/internal/engine"
	"github.com/voicemill/voicemill/worker/internal/listen"
)

const (
	op             = "transcribe.Hear"
	path           = "/v1/audio/transcriptions"
	idleTimeout    = 90 * time.Second
	maxHeaderBytes = 64 << 10
)

var errHung = errors.New("the ear did not answer in time")

// Ear speaks to one server. It is safe for concurrent use.
type Ear struct {
	cfg       Config
	url       string
	client    *http.Client
	transport *http.Transport
	places    chan struct{} // one for each request that the server may have at once
	calls     engine.Calls
}

// Transcript is what was heard.
type Transcript struct {
	Text  string
	Words []listen.Span // without times if the server tells none
}

// New returns an Ear, without talking to its server. The caller must close it.
func New(cfg Config) (*Ear, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("transcribe: %w", err)
	}
	cfg = cfg.withDefaults()
	base, err := url.Parse(cfg.Backend)
	if err != nil {
		return nil, fmt.Errorf("transcribe: %w", err)
	}
	e := &Ear{cfg: cfg, url: strings.TrimSuffix(base.String(), "/") + path, places: make(chan struct{}, cfg.Window)}
	e.transport = &http.Transport{
		DialContext:            (&net.Dialer{Timeout: cfg.ConnectTimeout, KeepAlive: 15 * time.Second}).DialContext,
		TLSHandshakeTimeout:    cfg.ConnectTimeout,
		MaxIdleConnsPerHost:    cfg.Window,
		IdleConnTimeout:        idleTimeout,
		MaxResponseHeaderBytes: maxHeaderBytes,
	}
	e.client = &http.Client{
		Transport:     e.transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return e, nil
}

// Close ends calls in progress and closes the connections. A second call does nothing.
func (e *Ear) Close() error {
	e.calls.Close()
	e.transport.CloseIdleConnections()
	return nil
}

// Hear returns what is said in audio. language is a BCP 47 tag; empty leaves it to the
// server to find out. The error is a *job.Error; it wraps the cause of ctx if that ended.
func (e *Ear) Hear(ctx context.Context, audio engine.Audio, language string) (Transcript, error) {
	if len(audio.Samples) == 0 || audio.Rate <= 0 || audio.Duration() > e.cfg.MaxAudio {
		return Transcript{}, &job.Error{Op: op, Kind: job.Invalid, Err: fmt.Errorf("audio of %s; want more than 0 and at most %s", audio.Duration(), e.cfg.MaxAudio)}
	}
	ctx, end, ok := e.calls.Begin(ctx)
	if !ok {
		return Transcript{}, engine.CallError(op, engine.ErrClosed)
	}
	defer end()
	select {
	case e.places <- struct{}{}:
		defer func() { <-e.places }()
	case <-ctx.Done():
		return Transcript{}, engine.CallError(op, context.Cause(ctx))
	}
	t, err := e.ask(ctx, audio, language)
	if err != nil {
		return Transcript{}, explain(ctx, err)
	}
	return t, nil
}

// ask sends audio and reads the answer, within the time for it.
func (e *Ear) ask(ctx context.Context, audio engine.Audio, language string) (Transcript, error) {
	timeout := max(e.cfg.MinTimeout, time.Duration(e.cfg.TimeoutFactor*float64(audio.Duration())))
	ctx, cancel := context.WithTimeoutCause(ctx, timeout, errHung)
	defer cancel()
	body, contentType, err := e.form(audio, language)
	if err != nil {
		return Transcript{}, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, e.url, body)
	if err != nil {
		return Transcript{}, fmt.Errorf("make request: %w", err)
	}
	req.Header.Set("Content-Type", contentType)
	// Lets net/http repeat the request if a connection ended just as it was used again.
	req.Header["Idempotency-Key"] = nil
	if !e.cfg.APIKey.IsZero() {
		req.Header.Set("Authorization", "Bearer "+e.cfg.APIKey.Reveal())
	}
	resp, err := e.client.Do(req)
	if err == nil {
		defer func() { _ = resp.Body.Close() }()
		var t Transcript
		if t, err = e.cfg.parse(resp, time.Now()); err == nil {
			return t, nil
		}
	}
	if ctx.Err() != nil {
		return Transcript{}, context.Cause(ctx)
	}
	return Transcript{}, err
}

// form returns the request's body.
func (e *Ear) form(audio engine.Audio, language string) (*bytes.Buffer, string, error) {
	var body bytes.Buffer
	w := multipart.NewWriter(&body)
	file, err := w.CreateFormFile("file", "segment.wav")
	if err == nil {
		_, err = file.Write(wav.Encode(audio.Rate, audio.Samples))
	}
	language, _, _ = strings.Cut(strings.ToLower(language), "-")
	for _, field := range [][2]string{
		{"model", e.cfg.Model}, {"language", language}, {"temperature", "0"}, {"response_format", "verbose_json"}, {"timestamp_granularities[]", "word"},
	} {
		if err == nil && field[1] != "" {
			err = w.WriteField(field[0], field[1])
		}
	}
	if err = errors.Join(err, w.Close()); err != nil {
		return nil, "", fmt.Errorf("make the form: %w", err)
	}
	return &body, w.FormDataContentType(), nil
}

// explain turns err into the failure of a request in ctx.
func explain(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return engine.CallError(op, context.Cause(ctx))
	}
	failure := &job.Error{Op: op, Kind: job.Engine, Err: err}
	var status *statusError
	var dial *net.OpError
	var certificate *tls.CertificateVerificationError
	switch {
	case (errors.As(err, &dial) && dial.Op == "dial") || errors.As(err, &certificate):
		failure.Kind = job.Unavailable
	case errors.As(err, &status):
		failure.Kind = status.kind()
		if failure.Kind == job.Overloaded && status.after > 0 {
			failure.Err = fmt.Errorf("%w: %w", err, &engine.BusyError{After: status.after})
		}
	case errors.Is(err, errNoAnswer):
	default: // it hung, or the connection broke
		failure.Err = fmt.Errorf("%w: %w", engine.ErrLost, err)
	}
	return failure
}
