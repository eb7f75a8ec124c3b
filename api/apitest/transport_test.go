package apitest_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/api/apitest"
)

const (
	document = `{"id":"job_0123456789abcdefghjkmnpqrstvwxyz0123456","state":"accepted","version":0,"class":"bulk","labels":{},` +
		`"progress":{"segments":{"total":0,"done":0,"reused":0,"failed":0},"chapters":{"total":0,"ready":0},"audio_seconds":0,"fraction":0},` +
		`"usage":{"characters":0,"audio_seconds":0,"gpu_seconds":0,"reused_seconds":0},"created_at":"2026-11-22T12:00:00.000Z"}`
	event = `{"version":1,"state":"queued","progress":{"segments":{"total":0,"done":0,"reused":0,"failed":0},` +
		`"chapters":{"total":0,"ready":0},"audio_seconds":0,"fraction":0}}`
	notFound = `{"type":"/problems/not-found","title":"t","status":404,"detail":"d","request_id":"r"}`
	submit   = `{"input":{"text":"Hello."}}`
)

// told is a request and the answer to it.
type told struct {
	method, path, sent string
	status             int
	answer             []string // header fields
	body               string
}

func (c *told) defaults() {
	if c.method == "" {
		c.method, c.path = "GET", "/v1/jobs/job_1"
	}
	if c.status == 0 {
		c.status = 200
	}
	if c.answer == nil {
		c.answer = []string{"Content-Type", "application/json", "ETag", `W/"0"`}
	}
}

func TestWhatTheContractDoesNotSayIsAViolation(t *testing.T) {
	t.Parallel()
	contract, err := apitest.Load(t.Context())
	require.NoError(t, err)
	problem := []string{"Content-Type", "application/problem+json"}
	stream := []string{"Content-Type", "text/event-stream", "Cache-Control", "private, no-cache"}
	for name, c := range map[string]struct {
		told
		want string // part of the violation; empty for none
	}{
		"as described":                   {told{body: document}, ""},
		"a request that is refused":      {told{method: "POST", path: "/v1/jobs", sent: `{"input":{"text":"x"},"speed":"fast"}`, status: 422, answer: problem, body: strings.Replace(notFound, "404", "422", 1)}, ""},
		"a path that is not there":       {told{method: "GET", path: "/nowhere", status: 404, answer: problem, body: notFound}, ""},
		"a method that is not there":     {told{method: "PUT", path: "/v1/jobs", status: 405, answer: append([]string{"Allow", "GET"}, problem...), body: strings.Replace(notFound, "404", "405", 1)}, ""},
		"events":                         {told{method: "GET", path: "/v1/jobs/job_1/events", answer: stream, body: ":\n\nid: 1\nevent: progress\ndata: " + event + "\n\n"}, ""},
		"a member nobody described":      {told{body: strings.Replace(document, `"state"`, `"colour":"red","state"`, 1)}, "colour"},
		"a member that is missing":       {told{body: strings.Replace(document, `"version":0,`, "", 1)}, "version"},
		"a status nobody described":      {told{status: 418, answer: problem, body: notFound}, "no such answer"},
		"a field nobody described":       {told{answer: []string{"Content-Type", "application/json", "ETag", `W/"0"`, "X-Colour", "red"}, body: document}, "X-Colour"},
		"a field that is missing":        {told{answer: []string{"Content-Type", "application/json"}, body: document}, "ETag is missing"},
		"a field with a bad value":       {told{answer: []string{"Content-Type", "application/json", "ETag", "0"}, body: document}, "Etag"},
		"a body of another type":         {told{answer: []string{"Content-Type", "text/html", "ETag", `W/"0"`}, body: "<p>"}, "text/html"},
		"a path nobody described":        {told{method: "GET", path: "/v1/secrets", body: document}, "no such answer"},
		"a body where there is none":     {told{method: "GET", path: "/v1/jobs/job_1/artifacts/a.wav", status: 307, answer: []string{"Location", "http://bucket/a.wav", "Content-Type", "text/html"}, body: "<a>"}, "is not described"},
		"a bad request that is taken":    {told{method: "POST", path: "/v1/jobs", sent: `{"input":{"text":"x"},"speed":"fast"}`, status: 202, answer: []string{"Content-Type", "application/json", "ETag", `W/"0"`, "Location", "/v1/jobs/job_1"}, body: document}, "took a request"},
		"a query that is taken":          {told{method: "GET", path: "/v1/jobs/job_1?colour=red", body: document}, "colour"},
		"a query with a bad value":       {told{method: "GET", path: "/v1/jobs/job_1?wait=long", body: document}, "wait"},
		"a body that nobody asked for":   {told{method: "POST", path: "/v1/jobs/job_1/cancel", sent: submit, body: document}, "has a body"},
		"an event that is none":          {told{method: "GET", path: "/v1/jobs/job_1/events", answer: stream, body: "data: {}\n\n"}, "version"},
		"a stream of something else":     {told{method: "GET", path: "/v1/jobs/job_1/events", answer: stream, body: "hello\n"}, "no line of an event"},
		"a stream that ends in a line":   {told{method: "GET", path: "/v1/jobs/job_1/events", answer: stream, body: "data: {"}, "ends in a line"},
		"a problem that is not one":      {told{status: 404, answer: problem, body: `{"status":404}`}, "detail"},
		"no request id in the problem":   {told{status: 404, answer: append([]string{"X-Request-Id", ""}, problem...), body: notFound}, "X-Request-Id"},
		"one HEAD that is as its GET is": {told{method: "HEAD", path: "/v1/jobs/job_1"}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			err := exchange(t, contract, c.told)
			if c.want == "" {
				require.NoError(t, err)
				return
			}
			var v *apitest.ContractError
			require.ErrorAs(t, err, &v)
			require.ErrorContains(t, err, c.want)
		})
	}
}

// exchange plays a request and its answer and returns what went wrong.
func exchange(t *testing.T, contract *apitest.Contract, c told) error {
	t.Helper()
	c.defaults()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-Request-Id", "r")
		for i := 0; i < len(c.answer); i += 2 {
			w.Header().Set(c.answer[i], c.answer[i+1])
		}
		w.WriteHeader(c.status)
		_, _ = io.WriteString(w, c.body) // refused for a HEAD and a 304
	}))
	t.Cleanup(s.Close)
	req, err := http.NewRequestWithContext(t.Context(), c.method, s.URL+c.path, strings.NewReader(c.sent))
	require.NoError(t, err)
	if c.sent != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	client := &http.Client{Transport: &apitest.Transport{Contract: contract, Base: s.Client().Transport}}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	_, err = io.ReadAll(resp.Body)
	return err
}

func TestOtherServersAreLeftAlone(t *testing.T) {
	t.Parallel()
	contract, err := apitest.Load(t.Context())
	require.NoError(t, err)
	s := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(s.Close)
	told := 0
	tr := &apitest.Transport{
		Contract: contract, Base: s.Client().Transport, Of: func(r *http.Request) bool { return r.URL.Path != "/bucket" }, Report: func(error) { told++ },
	}
	for path, fails := range map[string]bool{"/bucket": false, "/v1/jobs": true} {
		req, err := http.NewRequestWithContext(t.Context(), "GET", s.URL+path, http.NoBody)
		require.NoError(t, err)
		resp, err := (&http.Client{Transport: tr}).Do(req)
		require.Equal(t, fails, err != nil, path)
		if err == nil {
			require.NoError(t, resp.Body.Close())
		}
	}
	require.Equal(t, 1, told)
}
