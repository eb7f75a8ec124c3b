package demo

import (
	"bytes"
	"context"
	"log/slog"
	"net/http"
	"strconv"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
	"github.com/stretchr/testify/require"
)

const secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"

// send posts body to the receiver, signed with key, and returns the status.
func send(t *testing.T, url, key, body string) int {
	t.Helper()
	webhook, err := standardwebhooks.NewWebhook(key)
	require.NoError(t, err)
	now := time.Now()
	signature, err := webhook.Sign("dlv_1", now, []byte(body))
	require.NoError(t, err)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, bytes.NewBufferString(body))
	require.NoError(t, err)
	req.Header.Set("webhook-id", "dlv_1")
	req.Header.Set("webhook-timestamp", strconv.FormatInt(now.Unix(), 10))
	req.Header.Set("webhook-signature", signature)
	resp, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	return resp.StatusCode
}

func TestReceiverTakesOnlyWhatIsSignedWithItsSecret(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	r, err := newReceiver(ctx, secret, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()

	const body = `{"type":"job.succeeded","timestamp":"2026-11-22T13:00:00Z","data":{"id":"job_1"}}`
	require.Equal(t, http.StatusUnauthorized, send(t, r.URL(), "whsec_QUJDREVGR0hJSktMTU5PUFFSU1RVVldY", body))
	require.Equal(t, http.StatusBadRequest, send(t, r.URL(), secret, "not JSON"))
	require.Equal(t, http.StatusNoContent, send(t, r.URL(), secret, body))

	c, err := r.Wait(ctx)
	require.NoError(t, err)
	require.Equal(t, "job.succeeded", c.Type)
	require.Equal(t, "dlv_1", c.ID)
	cancel()
	require.NoError(t, <-done)
	_, err = r.Wait(ctx)
	require.ErrorIs(t, err, context.Canceled)
}
