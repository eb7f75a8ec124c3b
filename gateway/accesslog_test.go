package gateway_test

import (
	"bufio"
	"context"
	"encoding/json"
	"net/http"
	"slices"
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

// stagesOf returns the names of the stages of a line, sorted, and checks that
// they come to its duration.
func stagesOf(t *testing.T, line map[string]any) []string {
	t.Helper()
	require.NotNil(t, line)
	parts, _ := line["stages"].(map[string]any)
	var names []string
	var sum float64
	for name, took := range parts {
		names, sum = append(names, name), sum+took.(float64)
	}
	if len(names) > 0 {
		require.InDelta(t, line["duration"], sum, 1, "%v", line)
	}
	slices.Sort(names)
	return names
}

func TestTheAccessLogTellsTheStagesOfARequest(t *testing.T) {
	t.Parallel()
	w := newWorld(t, keepForLong)
	fresh := w.newKey(tenant, gateway.Scopes()...)
	named := func(id string) []string { return []string{"X-Request-Id", id} }
	w.call("GET", "/v1/jobs", "") // from now on its key is known
	w.call("GET", "/v1/voices", "", "X-Request-Id", "unknown-key", "Authorization", "Bearer "+fresh)
	w.call("GET", "/v1/voices", "", "X-Request-Id", "known-key", "Authorization", "Bearer "+fresh)
	w.call("POST", "/v1/jobs", hello, append(named("submit"), "Authorization", "Bearer "+fresh)...)
	w.call("POST", "/v1/jobs", hello, append(named("prefer"), "Prefer", "wait=1")...)
	w.call("POST", "/v1/jobs", hello, append(named("idempotent"), "Idempotency-Key", "k")...)
	w.call("GET", "/v1/jobs", "", named("list")...)
	id := string(w.submitted(hello))
	w.call("GET", "/v1/jobs/"+id, "", named("status")...)
	w.call("GET", "/v1/jobs/"+id, "", named("kept")...)
	w.call("GET", "/v1/jobs/"+id+"?wait=1", "", named("poll")...)
	w.batch(hello, named("batch")...)
	events := w.events("/v1/jobs/"+id+"/events", "X-Request-Id", "events")
	require.NoError(t, events.resp.Body.Close())
	require.NoError(t, w.stop())

	lines := w.logged()
	for request, want := range map[string][]string{
		"unknown-key": {"auth", "loop", "queue", "work"},
		"known-key":   {"loop", "work"},
		"submit":      {"commit", "loop", "work"},
		"prefer":      {"commit", "hold", "loop", "queue", "work"},
		"idempotent":  {"commit", "loop", "queue", "work"},
		"list":        {"loop", "queue", "work"},
		"status":      {"loop", "queue", "work"},
		"kept":        nil, // answered on the loop
		"poll":        {"hold", "loop", "queue", "work"},
		"batch":       {"loop", "send", "work"},
		"events":      {"loop", "queue", "send", "work"},
	} {
		require.Equal(t, want, stagesOf(t, lines[request]), request)
	}
	held, _ := lines["poll"]["stages"].(map[string]any)
	require.Greater(t, held["hold"], float64(time.Second/2), "the poll was held")
}

func TestTheAccessLogTellsTheClassOfAnError(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	w.call("GET", "/v1/voices", "", "X-Request-Id", "stranger", "Authorization", "")
	w.call("POST", "/v1/jobs", `{"input":{}}`, "X-Request-Id", "faults")
	w.call("GET", "/v1/jobs/job_x", "", "X-Request-Id", "nothing")
	w.call("GET", "/v1/voices", "", "X-Request-Id", "fine")
	s := w.ws("/v1/connect", nil)
	require.NotNil(t, s.hear().Hello)
	s.tellWrong(`{"stream":1,"submit":{"spec":{"input":{}},"request_id":"message"}}`)
	require.NotNil(t, s.hear().Problem)
	w.nats.Stop()
	require.Eventually(t, func() bool { return !w.bus.Healthy() }, time.Minute, 10*time.Millisecond)
	require.Equal(t, http.StatusServiceUnavailable, w.call("POST", "/v1/jobs", hello, "X-Request-Id", "away").Status)
	_ = w.stop() // the bus is away
	lines := w.logged()
	for request, want := range map[string]any{
		"stranger": "unauthorized", "faults": "invalid-request", "nothing": "not-found", "message": "invalid-request", "away": "unavailable", "fine": nil,
	} {
		require.Equal(t, want, lines[request]["problem"], request)
	}
	require.Equal(t, "unavailable", lines["away"]["error_kind"])
	require.NotContains(t, lines["fine"], "error_kind")
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
	}, time.Minute, 5*time.Millisecond, "%s is not %s", name, want)
}

func TestAFloodOfFailuresIsSampledInTheAccessLog(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *gateway.Config) { c.AccessLogFailures = 1 })
	const many = 50
	for range many {
		require.Equal(t, http.StatusUnauthorized, w.call("GET", "/v1/voices", "", "Authorization", "").Status)
	}
	require.Eventually(t, func() bool { // a second without a failure yet
		w.call("GET", "/v1/voices", "", "Authorization", "")
		return strings.Contains(w.log.String(), `"left_out"`)
	}, time.Minute, 10*time.Millisecond)
	require.NoError(t, w.stop())
	require.Less(t, len(w.logged()), many/2)
}
