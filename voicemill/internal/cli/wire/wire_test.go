package wire_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/voicemill/internal/cli/wire"
)

func TestAwaySaysWhetherTheSameCallMayWorkLater(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		err  error
		want bool
	}{
		"nobody listens":         {&url.Error{Op: "Get", URL: "http://x", Err: &net.OpError{Op: "dial", Err: errors.New("refused")}}, true},
		"the connection broke":   {fmt.Errorf("read: %w", io.ErrUnexpectedEOF), true},
		"Ctrl-C":                 {&url.Error{Op: "Get", URL: "http://x", Err: context.Canceled}, false},
		"overloaded":             {&wire.Problem{Status: 429}, true},
		"something is away":      {&wire.Problem{Status: 503}, true},
		"a proxy without server": {&wire.Problem{Status: 502}, true},
		"the server's own fault": {&wire.Problem{Status: 500}, false},
		"refused":                {&wire.Problem{Status: 404}, false},
		"anything else":          {errors.New("disk full"), false},
	} {
		if got := wire.Away(c.err); got != c.want {
			t.Errorf("%s: Away(%v) = %v; want %v", name, c.err, got, c.want)
		}
	}
}

func answer(status int, header http.Header, body string) *http.Response {
	return &http.Response{StatusCode: status, Status: fmt.Sprintf("%d %s", status, http.StatusText(status)), Header: header, Body: io.NopCloser(strings.NewReader(body))}
}

func TestReadProblemMakesSenseOfAnyAnswer(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		status int
		header http.Header
		body   string
		want   wire.Problem
	}{
		"a problem document": {
			422, http.Header{},
			`{"type":"/problems/invalid","title":"T","status":422,"detail":"D","request_id":"r","errors":[{"pointer":"/voice","detail":"none"}]}`,
			wire.Problem{Type: "/problems/invalid", Title: "T", Status: 422, Detail: "D", RequestID: "r", Errors: []job.Fault{{Pointer: "/voice", Detail: "none"}}},
		},
		"a page of a proxy": {
			503, http.Header{"X-Request-Id": {"r"}, "Retry-After": {"7"}}, "<html>busy</html>",
			wire.Problem{Title: "the server answered 503 Service Unavailable", Status: 503, RequestID: "r", RetryAfter: 7 * time.Second},
		},
		"nothing": {404, http.Header{}, "", wire.Problem{Title: "the server answered 404 Not Found", Status: 404}},
		"a status that contradicts the answer": {
			400, http.Header{}, `{"title":"T","status":200}`, wire.Problem{Title: "T", Status: 400},
		},
	} {
		got, ok := errors.AsType[*wire.Problem](wire.ReadProblem(answer(c.status, c.header, c.body)))
		if !ok {
			t.Fatalf("%s: not a problem", name)
		}
		if diff := cmp.Diff(c.want, *got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func FuzzReadProblem(f *testing.F) {
	f.Add(400, `{"title":"T"}`, "5")
	f.Add(503, `{"title":{}}`, "-1")
	f.Add(500, "\x00\xff", "soon")
	f.Fuzz(func(t *testing.T, status int, body, retryAfter string) {
		err := wire.ReadProblem(answer(status, http.Header{"Retry-After": {retryAfter}}, body))
		p, ok := errors.AsType[*wire.Problem](err)
		if !ok || p.Title == "" || p.Status != status || p.RetryAfter < 0 {
			t.Errorf("ReadProblem = %+v; want a problem with title, status %d", p, status)
		}
	})
}

func TestAServerThatIsNotVoicemillIsNamed(t *testing.T) {
	t.Parallel()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "<html>") }))
	t.Cleanup(s.Close)
	var out map[string]any
	_, _, err := (&wire.Client{Base: s.URL, HTTP: s.Client()}).Do(t.Context(), wire.Request{Method: http.MethodGet, Path: "/", Out: &out})
	if err == nil || !strings.Contains(err.Error(), "does not answer like voicemill") || wire.Away(err) {
		t.Errorf("Do = %v; want it to say that this is another server", err)
	}
}
