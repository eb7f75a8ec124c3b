package telemetry

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/job"
)

// nowhere is a listener that nobody connects to, for tests in a bubble.
type nowhere struct{ closed chan struct{} }

func (n nowhere) Accept() (net.Conn, error) { <-n.closed; return nil, net.ErrClosed }
func (n nowhere) Close() error              { close(n.closed); return nil }
func (n nowhere) Addr() net.Addr            { return &net.TCPAddr{} }

// readyz asks as a load balancer does.
func readyz(t *testing.T, a *Admin) (ok bool, checks map[string]string) {
	t.Helper()
	began := time.Now()
	w := httptest.NewRecorder()
	a.ready(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/readyz", http.NoBody))
	require.Zero(t, time.Since(began), "nobody waits for a check")
	var body struct {
		Ready  bool
		Checks map[string]string
	}
	require.NoError(t, json.Unmarshal(w.Body.Bytes(), &body))
	require.Equal(t, body.Ready, w.Code == http.StatusOK)
	return body.Ready, body.Checks
}

func running(t *testing.T, checks map[string]Check) (a *Admin, stop func()) {
	t.Helper()
	a = AdminOn(nowhere{make(chan struct{})}, NewRegistry(), slog.New(slog.DiscardHandler))
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx) }()
	a.AddChecks(checks)
	synctest.Wait()
	return a, func() { cancel(); require.NoError(t, <-done) }
}

func TestABlipChangesNothingAndAnOutageDoes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var away atomic.Bool
		a, stop := running(t, map[string]Check{"bucket": func(context.Context) error {
			if away.Load() {
				return &job.Error{Kind: job.Unavailable, Public: "The bucket is away."}
			}
			return nil
		}})
		defer stop()
		see := func(after time.Duration, want bool) {
			time.Sleep(after)
			synctest.Wait()
			ok, checks := readyz(t, a)
			require.Equal(t, want, ok, "%v", checks)
			if !want && away.Load() {
				require.Equal(t, "The bucket is away.", checks["bucket"])
			}
		}
		see(0, true)
		away.Store(true)
		see(2*checkEvery, true) // two failures
		away.Store(false)
		see(checkEvery, true)
		away.Store(true)
		see(3*checkEvery, false)
		away.Store(false)
		see(checkEvery, false) // one success
		away.Store(true)
		see(checkEvery, false)
		away.Store(false)
		see(2*checkEvery, true)
	})
}

func TestACheckThatHangsFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hang, hung := make(chan struct{}), atomic.Bool{}
		a, stop := running(t, map[string]Check{
			"bus": func(context.Context) error { return nil },
			"database": func(context.Context) error {
				if hung.Load() {
					<-hang // it does not look at its context
				}
				return nil
			},
			"bucket": func(ctx context.Context) error {
				if hung.Load() {
					<-ctx.Done()
					return ctx.Err()
				}
				return nil
			},
		})
		defer stop()
		ok, _ := readyz(t, a)
		require.True(t, ok)
		hung.Store(true)
		time.Sleep(3*(checkTimeout+checkSlack) + 3*checkEvery)
		ok, checks := readyz(t, a)
		require.False(t, ok)
		require.Equal(t, map[string]string{"bus": "ok", "database": "It does not answer.", "bucket": "It does not answer in time."}, checks)
		hung.Store(false)
		close(hang)
		time.Sleep(checkTimeout + 3*checkEvery)
		ok, checks = readyz(t, a)
		require.True(t, ok, "%v", checks)
	})
}

type allowed struct{ error }

func (allowed) Warns() bool { return true }

func (a allowed) Unwrap() error { return a.error }

func TestAWarningIsShownAndFailsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, stop := running(t, map[string]Check{"bus-sync": func(context.Context) error {
			return allowed{&job.Error{Kind: job.Unavailable, Public: "It is not safe.", Err: errors.New("secret")}}
		}})
		defer stop()
		ok, checks := readyz(t, a)
		require.True(t, ok)
		require.Equal(t, map[string]string{"bus-sync": "ok, but: It is not safe."}, checks)
	})
}
