package demo

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
)

const (
	maxCallback    = 64 << 10 // callbacks have at most 20 KB
	receiveTimeout = 10 * time.Second
	callbackBuffer = 16 // far more than one job sends
)

// Callback is one event that arrived and whose signature is right.
type Callback struct {
	ID        string // webhook-id: the same for every attempt
	Signature string
	Type      string          `json:"type"`
	Timestamp time.Time       `json:"timestamp"`
	Data      json.RawMessage `json:"data"`
}

// receiver is a client's end of a callback: an HTTP server on loopback that
// takes what is signed with the secret and refuses everything else.
type receiver struct {
	listener net.Listener
	server   *http.Server
	webhook  *standardwebhooks.Webhook
	got      chan Callback // buffered; an event that finds it full is answered 503 and comes again
	log      *slog.Logger
}

func newReceiver(ctx context.Context, secret string, log *slog.Logger) (*receiver, error) {
	webhook, err := standardwebhooks.NewWebhook(secret)
	if err != nil {
		return nil, fmt.Errorf("read the callback secret: %w", err)
	}
	var lc net.ListenConfig
	listener, err := lc.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("listen for callbacks: %w", err)
	}
	r := &receiver{listener: listener, webhook: webhook, got: make(chan Callback, callbackBuffer), log: log}
	r.server = &http.Server{Handler: http.HandlerFunc(r.receive), ReadTimeout: receiveTimeout}
	return r, nil
}

// URL is where callbacks are to be sent.
func (r *receiver) URL() string { return "http://" + r.listener.Addr().String() + "/voicemill" }

// Run serves until ctx is done.
func (r *receiver) Run(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() { _ = r.server.Close() })
	defer stop()
	if err := r.server.Serve(r.listener); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("receive callbacks: %w", err)
	}
	return nil
}

func (r *receiver) receive(w http.ResponseWriter, req *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, req.Body, maxCallback))
	if err != nil {
		http.Error(w, "the body cannot be read", http.StatusBadRequest)
		return
	}
	if err := r.webhook.Verify(body, req.Header); err != nil {
		r.log.WarnContext(req.Context(), "callback refused", slog.Any("error", err))
		http.Error(w, "the signature is wrong", http.StatusUnauthorized)
		return
	}
	c := Callback{ID: req.Header.Get("webhook-id"), Signature: req.Header.Get("webhook-signature")}
	if err := json.Unmarshal(body, &c); err != nil {
		http.Error(w, "the body is not JSON", http.StatusBadRequest)
		return
	}
	select {
	case r.got <- c:
		w.WriteHeader(http.StatusNoContent)
	default:
		http.Error(w, "too many at once", http.StatusServiceUnavailable)
	}
}

// Wait returns the next callback.
func (r *receiver) Wait(ctx context.Context) (Callback, error) {
	select {
	case c := <-r.got:
		return c, nil
	case <-ctx.Done():
		return Callback{}, fmt.Errorf("wait for the callback: %w", context.Cause(ctx))
	}
}
