package gateway_test

import (
	"encoding/json"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/api/voicemillv1"
	"github.com/voicemill/voicemill/gateway"
)

// line waits for the line of the access log with a message and a request id.
func (w *world) line(msg, request string) (found map[string]any) {
	w.t.Helper()
	require.Eventually(w.t, func() bool {
		for text := range strings.Lines(w.log.String()) {
			var line map[string]any
			require.NoError(w.t, json.Unmarshal([]byte(text), &line))
			if line["msg"] == msg && line["request_id"] == request {
				found = line
			}
		}
		return found != nil
	}, time.Minute, 10*time.Millisecond, "no %q of %s", msg, request)
	return found
}

func TestTheAccessLogNamesTheClientOfAWebSocket(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *gateway.Config) { c.Proxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")} })
	s := w.ws("/v1/connect", &websocket.DialOptions{Subprotocols: []string{"voicemill.v1.json"}, HTTPHeader: http.Header{
		"Authorization": {"Bearer " + w.key}, "X-Forwarded-For": {"203.0.113.9"}, "User-Agent": {"test/2"}, "X-Request-Id": {"opener"},
		"Traceparent": {"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"},
	}})
	require.NotNil(t, s.hear().Hello)
	submit := `{"stream":1,"submit":{"spec":` + hello + `,"request_id":"message"}}`
	s.tell(submit)
	require.NotNil(t, s.hear().Accepted)
	require.NoError(t, s.Close(websocket.StatusNormalClosure, ""))
	for msg, request := range map[string]string{"request": "message", "connection closed": "opener"} {
		line := w.line(msg, request)
		require.Equal(t, "203.0.113.9", line["client_ip"], msg)
		require.Equal(t, "test/2", line["user_agent"], msg)
		require.Equal(t, "default", line["tenant"], msg)
	}
	require.InDelta(t, len(submit), w.line("request", "message")["bytes_in"], 0)
	end := w.line("connection closed", "opener")
	require.Equal(t, "4bf92f3577b34da6a3ce929d0e0e4736", end["trace_id"])
	require.InDelta(t, 1000, end["close_code"], 0)
}

func TestTheAccessLogTellsOfHellosThatWereRefusedAndCallsWithoutRoom(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	greet := func(key string) *voicemillv1.Frame {
		return &voicemillv1.Frame{Body: &voicemillv1.Frame_Hello{Hello: &voicemillv1.Hello{Authorization: "Bearer " + key, Agent: "test/3"}}}
	}
	c := w.raw(t)
	_, err := c.Write(framed(t, greet("vm_0123456789abcdefghjkmnpqrs")))
	require.NoError(t, err)
	refused := c.hear().GetProblem().GetRequestId()
	line := w.line("request", refused)
	require.InDelta(t, http.StatusUnauthorized, line["status"], 0)
	require.Equal(t, "/v1/connect", line["route"])
	require.Equal(t, "unauthorized", line["problem"])
	require.Equal(t, "test/3", line["user_agent"])
	require.Equal(t, "127.0.0.1", line["client_ip"])
	require.Positive(t, line["bytes_in"])
	require.InDelta(t, 1008, w.line("connection closed", refused)["close_code"], 0)

	id := w.submitted(hello)
	list := []*voicemillv1.Frame{greet(w.key)}
	for n := range uint32(257) {
		list = append(list, &voicemillv1.Frame{Stream: n + 1, Body: &voicemillv1.Frame_Get{Get: &voicemillv1.Get{Id: string(id), WaitSeconds: 60, AfterVersion: 1}}})
	}
	c = w.raw(t)
	_, err = c.Write(framed(t, list...))
	require.NoError(t, err)
	require.NotNil(t, c.hear().GetHello())
	p := c.hear().GetProblem()
	require.Equal(t, uint32(http.StatusServiceUnavailable), p.GetStatus())
	line = w.line("request", p.GetRequestId())
	require.InDelta(t, http.StatusServiceUnavailable, line["status"], 0)
	require.Equal(t, "none", line["route"])
	require.Equal(t, "default", line["tenant"])
	require.Equal(t, "/v1/jobs/"+string(id), line["path"])
	require.True(t, w.counts(`voicemill_gateway_requests_total{protocol="frames",route="none",status="5xx"} 1`), "%s", w.metrics())
	require.True(t, w.counts(`voicemill_gateway_sheds_total{reason="calls"} 1`), "%s", w.metrics())
}

func TestTheAccessLogTellsOfRequestsThatCannotBeRead(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	for raw, status := range map[string]int{
		"GET / HTTP/1.1\r\n\r\n": http.StatusBadRequest,
		"POST /v1/jobs HTTP/1.1\r\nHost: h\r\nContent-Length: 99999999\r\n\r\n":                               http.StatusRequestEntityTooLarge,
		"GET /" + strings.Repeat("y", 9<<10) + " HTTP/1.1\r\nHost: h\r\n\r\n":                                 http.StatusRequestURITooLong,
		"GET /v1/jobs HTTP/1.1\r\nHost: h\r\nX: " + strings.Repeat("y", 20<<10) + "\r\nConnection: close\r\n": http.StatusRequestHeaderFieldsTooLarge,
	} {
		a := w.wire(raw)
		require.Equal(t, status, a.Status)
		line := w.line("request", a.Header.Get("X-Request-Id"))
		require.InDelta(t, status, line["status"], 0)
		require.Equal(t, "none", line["route"])
		require.Equal(t, "127.0.0.1", line["client_ip"])
		require.Equal(t, a.problem(t).Detail, line["reason"])
		require.True(t, strings.HasSuffix(a.problem(t).Type, line["problem"].(string)))
	}
}
