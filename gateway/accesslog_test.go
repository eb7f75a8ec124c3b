package gateway_test

import (
	"bufio"
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/gateway"
)

// logged returns the lines of the access log by the id of their request.
func (w *world) logged() map[string]map[string]any {
	w.t.Helper()
	lines := map[string]map[string]any{}
	scan := bufio.NewScanner(strings.NewReader(w.log.String()))
	for scan.Scan() {
		var line map[string]any
		require.NoError(w.t, json.Unmarshal(scan.Bytes(), &line))
		if id, ok := line["request_id"].(string); ok {
			lines[id] = line
		}
	}
	return lines
}

// A request that waits has no goroutine, so its client's leaving must end it.
func TestAClientThatLeavesWhileItWaitsLeavesNothingBehind(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *gateway.Config) { c.KeyWaits = 1 })
	id := string(w.submitted(hello))
	for name, c := range map[string]struct{ method, path, body, prefer string }{
		"before the first segment of a speech": {"POST", "/v1/audio/speech", speech("wav"), ""},
		"while a poll is held":                 {"GET", "/v1/jobs/" + id + "?wait=60", "", ""},
		"while a submit is held":               {"POST", "/v1/jobs", hello, "wait=60"},
	} {
		ctx, leave := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		request := strings.ReplaceAll(name, " ", "-")
		go func() {
			_, err := w.try(ctx, c.method, c.path, c.body, "Prefer", c.prefer, "X-Request-Id", request)
			ended <- err
		}()
		w.gauge("watchers", "1")
		w.gauge("requests_in_flight", "1")
		leave()
		require.ErrorIs(t, <-ended, context.Canceled, name)
		w.gauge("watchers", "0")
		w.gauge("requests_in_flight", "0")
		a := w.call("GET", "/v1/jobs/"+id+"?wait=1", "")
		require.Equal(t, http.StatusOK, a.Status, "%s: its place among the waits of its key is free", name)
	}
	require.NoError(t, w.stop())
	for _, line := range w.logged() {
		if strings.HasPrefix(line["request_id"].(string), "req_") {
			continue
		}
		require.InDelta(t, 499, line["status"], 0, "%v", line)
		require.Equal(t, "default", line["tenant"])
	}
}

// gauge waits until a metric without labels has a value.
func (w *world) gauge(name, want string) {
	w.t.Helper()
	require.Eventually(w.t, func() bool {
		return strings.Contains(w.metrics(), "\nvoicemill_gateway_"+name+" "+want+"\n")
	}, 20*time.Second, 5*time.Millisecond, "%s is not %s", name, want)
}
