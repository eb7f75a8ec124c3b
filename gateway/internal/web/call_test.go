package web

import (
	"context"
	"crypto/rand"
	"io"
	"log/slog"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/gateway/internal/accesslog"
	"github.com/voicemill/voicemill/gateway/internal/edge"
	"github.com/voicemill/voicemill/gateway/internal/offload"
	"github.com/voicemill/voicemill/gateway/internal/operation"
	"github.com/voicemill/voicemill/platform/telemetry"
)

// serve serves these handlers, each at its path, until the end of the test.
func serve(t *testing.T, handlers map[string]func(ctx context.Context, c *Call) (*Answer, error)) (url string) {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	ops, err := operation.New(operation.DefaultConfig(), operation.Deps{})
	require.NoError(t, err)
	pool, err := offload.NewPool(8)
	require.NoError(t, err)
	s, err := New(DefaultConfig(), Deps{
		Operations: ops, Pool: pool, Access: accesslog.New(accesslog.DefaultConfig(), log),
		Metrics: accesslog.NewMetrics(telemetry.NewRegistry(), Routes()), Log: log, Random: rand.Reader,
	})
	require.NoError(t, err)
	s.table = nil
	for name, h := range handlers {
		s.table = append(s.table, route{method: http.MethodGet, pattern: "/" + name, parts: []string{name}, open: true, serve: h})
	}
	server, err := edge.New(edge.Config{Listen: "127.0.0.1:0", Loops: 1, Refusal: s.Refusal}, s, log)
	require.NoError(t, err)
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 2)
	go func() { done <- server.Run(ctx) }()
	go func() { done <- pool.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		require.NoError(t, <-done)
		require.NoError(t, <-done)
	})
	return "http://" + server.Addr().String()
}

func TestAPanicEndsItsRequestOnly(t *testing.T) {
	t.Parallel()
	url := serve(t, map[string]func(ctx context.Context, c *Call) (*Answer, error){
		"fine": func(context.Context, *Call) (*Answer, error) { return reply(http.StatusOK, "fine"), nil },
		"boom": func(context.Context, *Call) (*Answer, error) { panic("on purpose") },
		"none": func(context.Context, *Call) (*Answer, error) { return nil, nil }, //nolint:nilnil // what no handler may do
		"begun": func(_ context.Context, c *Call) (*Answer, error) {
			out := c.Begin(&Answer{Status: http.StatusOK, ContentType: contentLines}, -1)
			_, _ = out.Write([]byte("half"))
			panic("on purpose")
		},
	})
	client := &http.Client{Transport: &http.Transport{}}
	t.Cleanup(client.CloseIdleConnections)
	for name, want := range map[string]int{"boom": 500, "none": 500, "fine": 200, "begun": 200, "nothing": 404} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url+"/"+name, http.NoBody)
		require.NoError(t, err)
		resp, err := client.Do(req)
		require.NoError(t, err, name)
		_, err = io.ReadAll(resp.Body)
		require.NoError(t, resp.Body.Close())
		require.Equal(t, want, resp.StatusCode, name)
		require.Equal(t, name == "begun", err != nil, "%s: %v", name, err)
	}
}
