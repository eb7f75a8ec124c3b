package telemetry

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestProfilesAreForThisMachineUnlessTheyAreAllowed(t *testing.T) {
	t.Parallel()
	status := func(a *Admin, peer, path string) int {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, nil)
		r.RemoteAddr = peer
		w := httptest.NewRecorder()
		a.mux.ServeHTTP(w, r)
		return w.Code
	}
	closed, open := AdminOn(nil, NewRegistry(), nil), AdminOn(nil, NewRegistry(), nil)
	open.AllowProfiles()
	for peer, want := range map[string]int{
		"127.0.0.1:5": http.StatusOK, "127.8.8.8:5": http.StatusOK, "[::1]:5": http.StatusOK, "[::ffff:127.0.0.1]:5": http.StatusOK,
		"10.1.2.3:5": http.StatusForbidden, "[2001:db8::1]:5": http.StatusForbidden, "[::ffff:10.1.2.3]:5": http.StatusForbidden, "@": http.StatusForbidden,
	} {
		for _, path := range []string{"/debug/pprof/", "/debug/pprof/heap", "/debug/pprof/goroutine"} {
			require.Equal(t, want, status(closed, peer, path), "%s to %s", path, peer)
			require.Equal(t, http.StatusOK, status(open, peer, path), "%s to %s", path, peer)
		}
		require.Equal(t, http.StatusOK, status(closed, peer, "/metrics"))
	}
	require.Equal(t, http.StatusForbidden, status(closed, "10.1.2.3:5", "/debug/pprof/profile?seconds=1"))
	require.Equal(t, http.StatusForbidden, status(closed, "10.1.2.3:5", "/debug/pprof/trace?seconds=1"))
}

func TestAnAdminPortThatOthersReachIsToldInTheLog(t *testing.T) {
	t.Parallel()
	for addr, warned := range map[string]bool{"127.0.0.1:0": false, "0.0.0.0:0": true, "[::]:0": true} {
		var log strings.Builder
		l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", addr)
		require.NoError(t, err)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		require.NoError(t, AdminOn(l, NewRegistry(), slog.New(slog.NewTextHandler(&log, nil))).Run(ctx))
		require.Equal(t, warned, strings.Contains(log.String(), "level=WARN"), "%s: %s", addr, log.String())
	}
}
