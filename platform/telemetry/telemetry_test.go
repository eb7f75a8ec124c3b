package telemetry_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/voicemill/voicemill/platform/telemetry"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestMetricsAreWrittenAsPrometheusText(t *testing.T) {
	t.Parallel()
	reg := telemetry.NewRegistry()
	reg.CounterVec("voicemill_test_things_total", "Things.", "kind").With("good").Add(3)
	reg.Histogram("voicemill_test_wait_seconds", "Waits.", []float64{1, 2}).Observe(1.5)
	reg.GaugeFunc("voicemill_test_level", "Level.", func() float64 { return 7 })
	var out bytes.Buffer
	require.NoError(t, reg.Write(&out))
	for _, want := range []string{
		`voicemill_test_things_total{kind="good"} 3`, `voicemill_test_wait_seconds_bucket{le="2"} 1`,
		"voicemill_test_level 7", "go_goroutines",
	} {
		require.Contains(t, out.String(), want)
	}
}

func TestRegisteringANameTwiceIsABug(t *testing.T) {
	t.Parallel()
	reg := telemetry.NewRegistry()
	reg.Gauge("voicemill_test_twice", "Twice.")
	require.Panics(t, func() { reg.Gauge("voicemill_test_twice", "Twice.") })
}

func TestLoggerRefusesWhatItDoesNotKnow(t *testing.T) {
	t.Parallel()
	_, err := telemetry.NewLogger(io.Discard, "loud", "json")
	require.ErrorContains(t, err, `"loud"`)
	_, err = telemetry.NewLogger(io.Discard, "info", "xml")
	require.ErrorContains(t, err, `"xml"`)
	var out bytes.Buffer
	log, err := telemetry.NewLogger(&out, "warn", "json")
	require.NoError(t, err)
	log.Info("quiet")
	log.Warn("heard", slog.Int("n", 1))
	require.True(t, json.Valid(out.Bytes()))
	require.NotContains(t, out.String(), "quiet")
}

func get(t *testing.T, url string) (status int, body string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	require.NoError(t, err)
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	require.NoError(t, err)
	b, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	return resp.StatusCode, string(b)
}

func TestReadinessFollowsItsChecks(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	admin, err := telemetry.NewAdmin(ctx, "127.0.0.1:0", telemetry.NewRegistry(), slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	done := make(chan error, 1)
	go func() { done <- admin.Run(ctx) }()
	base := "http://" + admin.Addr().String()

	status, body := get(t, base+"/readyz")
	require.Equal(t, http.StatusServiceUnavailable, status, "it has not said yet what it needs")
	require.JSONEq(t, `{"ready":false,"checks":{}}`, body)

	admin.AddChecks(map[string]telemetry.Check{"bus": func(context.Context) error { return nil }})
	require.Eventually(t, func() bool { status, _ = get(t, base+"/readyz"); return status == http.StatusOK }, time.Minute, time.Millisecond)

	admin.AddChecks(map[string]telemetry.Check{"database": func(context.Context) error { return errors.New("password=hunter2 refused") }})
	require.Eventually(t, func() bool {
		status, body = get(t, base+"/readyz")
		return body == `{"checks":{"bus":"ok","database":"internal"},"ready":false}`+"\n"
	}, time.Minute, time.Millisecond)
	require.Equal(t, http.StatusServiceUnavailable, status)
	_, body = get(t, base+"/metrics")
	require.Contains(t, body, `voicemill_check_passing{check="bus"} 1`)
	require.Contains(t, body, `voicemill_check_passing{check="database"} 0`)

	status, body = get(t, base+"/healthz")
	require.Equal(t, http.StatusOK, status)
	require.Equal(t, "ok\n", body)
	status, _ = get(t, base+"/metrics")
	require.Equal(t, http.StatusOK, status)
	cancel()
	require.NoError(t, <-done)
}
