package gateway_test

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/api/client/frames"
	"github.com/voicemill/voicemill/job"
)

func TestATraceGoesFromEveryCarrierIntoTheJob(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	trace := func(n string) string { return "00-4bf92f3577b34da6a3ce929d0e0e473" + n + "-00f067aa0ba902b7-01" }
	over := map[job.ID]string{}
	a := w.call("POST", "/v1/jobs", hello, "Traceparent", trace("1"))
	require.Equal(t, trace("1"), a.Header.Get("Traceparent"))
	over[a.job(t).ID] = trace("1")

	s := w.ws("/v1/connect", nil)
	require.NotNil(t, s.hear().Hello)
	s.tell(`{"stream":1,"submit":{"spec":` + hello + `,"traceparent":"` + trace("2") + `"}}`)
	over[s.hear().Accepted.Job.ID] = trace("2")

	c, err := frames.Dial(t.Context(), frames.Config{Address: w.address(), Key: w.key})
	require.NoError(t, err)
	defer func() { require.NoError(t, c.Close()) }()
	d, err := c.Submit(t.Context(), &job.Spec{Input: job.Input{Text: "Hello."}}, frames.SubmitOptions{Traceparent: trace("3")})
	require.NoError(t, err)
	over[d.ID] = trace("3")

	for _, bad := range []string{
		"nonsense", "00-00000000000000000000000000000000-00f067aa0ba902b7-01", "00-4bf92f3577b34da6a3ce929d0e0e4731-0000000000000000-01",
		"00-4BF92F3577B34DA6A3CE929D0E0E4731-00f067aa0ba902b7-01", "ff-4bf92f3577b34da6a3ce929d0e0e4731-00f067aa0ba902b7-01", trace("1") + "-x",
	} {
		a := w.call("POST", "/v1/jobs", hello, "Traceparent", bad)
		require.Equal(t, http.StatusAccepted, a.Status, "a bad trace refuses nobody")
		require.Empty(t, a.Header.Get("Traceparent"), "and is not passed on")
		over[a.job(t).ID] = ""
	}
	for _, j := range w.take(len(over)) {
		require.Equal(t, over[j.ID], j.Traceparent, j.ID)
	}
	events := w.events("/v1/jobs/"+string(d.ID)+"/events", "Traceparent", trace("4"))
	require.Equal(t, trace("4"), events.resp.Header.Get("Traceparent"), "a stream returns it, too")
	require.NoError(t, events.resp.Body.Close())
}
