package gateway_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/coder/websocket"
	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/api/client/frames"
	"github.com/voicemill/voicemill/gateway/internal/trace"
	"github.com/voicemill/voicemill/job"
)

// traced is a trace context of a client's.
func traced(n int) string {
	return fmt.Sprintf("00-4bf92f3577b34da6a3ce929d0e0e47%02d-00f067aa0ba902b7-01", n)
}

func TestATraceGoesFromEveryCarrierIntoTheJob(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	over := map[job.ID]string{}
	a := w.call("POST", "/v1/jobs", hello, "Traceparent", traced(1), "Tracestate", "rojo=1, congo=2")
	require.Equal(t, traced(1), a.Header.Get("Traceparent"))
	over[a.job(t).ID] = traced(1)
	lines := w.batch(hello, "Traceparent", traced(2), "Tracestate", "rojo=1,congo=2").lines(t)
	over[lines[0].ID] = traced(2)

	s := w.ws("/v1/connect", &websocket.DialOptions{
		Subprotocols: []string{"voicemill.v1.json"},
		HTTPHeader:   http.Header{"Authorization": {"Bearer " + w.key}, "Traceparent": {traced(3)}},
	})
	require.Equal(t, traced(3), s.head.Get("Traceparent"), "a 101 returns it, too")
	require.NotNil(t, s.hear().Hello)
	s.tell(`{"stream":1,"submit":{"spec":` + hello + `,"traceparent":"` + traced(4) + `","tracestate":"rojo=1,congo=2"}}`)
	over[s.hear().Accepted.Job.ID] = traced(4)

	c, err := frames.Dial(t.Context(), frames.Config{Address: w.address(), Key: w.key})
	require.NoError(t, err)
	defer func() { require.NoError(t, c.Close()) }()
	d, err := c.Submit(t.Context(), &job.Spec{Input: job.Input{Text: "Hello."}}, frames.SubmitOptions{Traceparent: traced(5), Tracestate: "rojo=1,congo=2"})
	require.NoError(t, err)
	over[d.ID] = traced(5)
	for _, j := range w.take(len(over)) {
		require.Equal(t, over[j.ID], j.Traceparent, j.ID)
		require.Equal(t, "rojo=1,congo=2", j.Tracestate, j.ID)
	}
	events := w.events("/v1/jobs/"+string(d.ID)+"/events", "Traceparent", traced(6))
	require.Equal(t, traced(6), events.resp.Header.Get("Traceparent"), "a stream returns it, too")
	require.NoError(t, events.resp.Body.Close())
}

func TestATraceThatCannotBeReadIsReplaced(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	over := map[job.ID]string{}
	for _, bad := range []string{"nonsense", "00-00000000000000000000000000000000-00f067aa0ba902b7-01", traced(1) + "-x"} {
		a := w.call("POST", "/v1/jobs", hello, "Traceparent", bad, "Tracestate", "rojo=1")
		require.Equal(t, http.StatusAccepted, a.Status, "a bad trace refuses nobody")
		over[a.job(t).ID] = a.Header.Get("Traceparent")
	}
	s := w.ws("/v1/connect", nil)
	require.NotNil(t, s.hear().Hello)
	require.Empty(t, s.head.Get("Traceparent"), "who does not trace gets no trace")
	s.tell(`{"stream":1,"submit":{"spec":` + hello + `,"traceparent":"nonsense","tracestate":"rojo=1"}}`)
	over[s.hear().Accepted.Job.ID] = ""
	a := w.call("POST", "/v1/jobs", hello, "Tracestate", "rojo=1")
	require.Empty(t, a.Header.Get("Traceparent"))
	untraced := a.job(t).ID

	seen := map[string]bool{}
	for _, j := range w.take(len(over) + 1) {
		require.Empty(t, j.Tracestate, "the state belongs to the trace that was left")
		if j.ID == untraced {
			require.Empty(t, j.Traceparent)
			continue
		}
		_, ok := trace.Parent([]byte(j.Traceparent))
		require.True(t, ok, j.Traceparent)
		seen[trace.ID(j.Traceparent)] = true
		if said := over[j.ID]; said != "" {
			require.Equal(t, said, j.Traceparent, "the client is told")
		}
	}
	require.Len(t, seen, len(over), "each is a trace of its own")
}

func TestATraceThatComesTwiceIsReplacedAndAStateInPiecesIsJoined(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	send := func(traces, states []string) string {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, w.url+"/v1/jobs", strings.NewReader(hello))
		require.NoError(t, err)
		req.Header = http.Header{"Authorization": {"Bearer " + w.key}, "Content-Type": {"application/json"}, "Traceparent": traces, "Tracestate": states}
		resp, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(req)
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
		return resp.Header.Get("Traceparent")
	}
	require.NotContains(t, []string{traced(1), traced(2), ""}, send([]string{traced(1), traced(2)}, []string{"rojo=1"}))
	require.Empty(t, w.take(1)[0].Tracestate)
	require.Equal(t, traced(1), send([]string{traced(1)}, []string{"rojo=1", "congo=2"}))
	require.Equal(t, "rojo=1,congo=2", w.take(1)[0].Tracestate)
}

func TestTheAccessLogNamesTheTrace(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	w.call("GET", "/v1/voices", "", "Traceparent", traced(1), "X-Request-Id", "traced")
	begun := w.call("GET", "/v1/voices", "", "Traceparent", "nonsense", "X-Request-Id", "begun").Header.Get("Traceparent")
	w.call("GET", "/v1/voices", "", "X-Request-Id", "untraced")
	require.NoError(t, w.stop())
	lines := w.logged()
	require.Equal(t, trace.ID(traced(1)), lines["traced"]["trace_id"])
	require.Equal(t, trace.ID(begun), lines["begun"]["trace_id"])
	require.NotContains(t, lines["untraced"], "trace_id")
}
