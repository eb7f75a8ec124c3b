package clients_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/api/apitest"
	"github.com/voicemill/voicemill/api/jobdoc"
	"github.com/voicemill/voicemill/e2e/internal/caller"
	"github.com/voicemill/voicemill/e2e/internal/stage"
	"github.com/voicemill/voicemill/job"
)

// curl is the program, with a server and its key. As a round tripper it makes a
// request by a command, so that what it sends and gets is held against the
// contract.
type curl struct {
	t       *testing.T
	ctx     context.Context //nolint:containedctx // the test's
	program string
	solo    *stage.Solo
	checked http.RoundTripper
}

func newCurl(t *testing.T, solo *stage.Solo) *curl {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), testLimit)
	t.Cleanup(cancel)
	contract, err := apitest.Load(ctx)
	require.NoError(t, err)
	c := &curl{t: t, ctx: ctx, program: requireProgram(t, "curl"), solo: solo}
	c.checked = &apitest.Transport{Contract: contract, Base: c}
	return c
}

// run runs curl and returns what it writes.
func (c *curl) run(args ...string) string {
	c.t.Helper()
	code, out, errs, err := stage.Run(c.ctx, c.program, []string{"PATH=" + os.Getenv("PATH")}, append([]string{"--silent", "--show-error"}, args...)...)
	require.NoError(c.t, err)
	require.Zero(c.t, code, "curl %s: %s", strings.Join(args, " "), errs)
	return out
}

// RoundTrip implements [http.RoundTripper].
func (c *curl) RoundTrip(req *http.Request) (*http.Response, error) {
	args := []string{"--include", "--request", req.Method, req.URL.String()}
	for name, values := range req.Header {
		args = append(args, "--header", name+": "+values[0])
	}
	if req.Body != nil {
		body, err := io.ReadAll(req.Body)
		if err != nil {
			return nil, err
		}
		args = append(args, "--data-raw", string(body))
	}
	return http.ReadResponse(bufio.NewReader(strings.NewReader(c.run(args...))), req)
}

// api makes one call of the API; header is as a command line has it.
func (c *curl) api(method, path, body string, header ...string) caller.Answer {
	c.t.Helper()
	var sent io.Reader
	if body != "" {
		sent = strings.NewReader(body)
	}
	req, err := http.NewRequestWithContext(c.ctx, method, c.solo.URL()+path, sent)
	require.NoError(c.t, err)
	for _, line := range append([]string{"Authorization: Bearer " + c.solo.Key(), "Content-Type: application/json"}, header...) {
		name, value, _ := strings.Cut(line, ": ")
		req.Header.Set(name, value)
	}
	resp, err := c.checked.RoundTrip(req)
	require.NoError(c.t, err)
	defer func() { _ = resp.Body.Close() }()
	got, err := io.ReadAll(resp.Body)
	require.NoError(c.t, err)
	return caller.Answer{Status: resp.StatusCode, Header: resp.Header, Body: got}
}

func (c *curl) document(raw []byte) jobdoc.Document {
	c.t.Helper()
	var d jobdoc.Document
	require.NoError(c.t, json.Unmarshal(raw, &d), "%s", raw)
	return d
}

// until polls with ?wait until the job has ended.
func (c *curl) until(id job.ID) jobdoc.Document {
	c.t.Helper()
	for {
		a := c.api("GET", "/v1/jobs/"+string(id)+"?wait=20", "")
		require.Equal(c.t, http.StatusOK, a.Status, "%s", a.Body)
		if d := c.document(a.Body); d.State.Final() {
			return d
		}
	}
}

func curlTests(solo *stage.Solo) map[string]func(*testing.T) {
	tests := map[string]func(*testing.T){}
	for name, test := range map[string]func(*curl){
		"a document goes up and audio comes down":      curlUpload,
		"a status is read again only if it is another": curlStatus,
		"events are shown as they happen":              curlEvents,
		"a refusal says what is wrong":                 curlProblem,
	} {
		tests[name] = func(t *testing.T) { test(newCurl(t, solo)) }
	}
	return tests
}

// curlUpload goes the way of a book: a place in the bucket, a job, a file.
func curlUpload(c *curl) {
	book := []byte("# One\n\n" + story("curl") + "\n# Two\n\n" + story("the second chapter"))
	file := filepath.Join(c.t.TempDir(), "book.md")
	require.NoError(c.t, os.WriteFile(file, book, 0o600))
	a := c.api("POST", "/v1/uploads", `{"media_type":"text/markdown"}`)
	require.Equal(c.t, http.StatusCreated, a.Status, "%s", a.Body)
	var place struct {
		ID, URL, Method string
		Headers         map[string]string
	}
	require.NoError(c.t, json.Unmarshal(a.Body, &place))
	put := []string{"--http1.1", "--fail", "--request", place.Method, "--upload-file", file}
	for name, value := range place.Headers {
		put = append(put, "--header", name+": "+value)
	}
	c.run(append(put, place.URL)...)

	a = c.api("POST", "/v1/jobs", fmt.Sprintf(`{"input":{"upload":%q},"language":"en"}`, place.ID))
	require.Equal(c.t, http.StatusAccepted, a.Status, "%s", a.Body)
	d := c.until(c.document(a.Body).ID)
	require.Equal(c.t, job.StateSucceeded, d.State, "%+v", d.Failures)
	require.Len(c.t, d.Chapters, 2)
	for _, artifact := range d.Artifacts {
		out := filepath.Join(c.t.TempDir(), "file")
		c.run("--http1.1", "--fail", "--location", "--output", out, "--header", "Authorization: Bearer "+c.solo.Key(),
			c.solo.URL()+"/v1/jobs/"+string(d.ID)+"/artifacts/"+artifact.Name)
		audio, err := os.ReadFile(out)
		require.NoError(c.t, err)
		sum := sha256.Sum256(audio)
		require.Equal(c.t, artifact.SHA256, hex.EncodeToString(sum[:]), "%s is not what the document says", artifact.Name)
	}
}

func curlStatus(c *curl) {
	a := c.api("POST", "/v1/jobs", `{"input":{"text":"Good morning."},"language":"en"}`, "Prefer: wait=60")
	require.Equal(c.t, http.StatusOK, a.Status, "%s", a.Body)
	require.Equal(c.t, "wait=60", a.Header.Get("Preference-Applied"))
	id := c.document(a.Body).ID
	require.Equal(c.t, "/v1/jobs/"+string(id), a.Header.Get("Location"))
	a = c.api("GET", "/v1/jobs/"+string(id), "")
	require.Equal(c.t, http.StatusOK, a.Status)
	etag := a.Header.Get("ETag")
	require.NotEmpty(c.t, etag, "%s", a.Body)
	a = c.api("GET", "/v1/jobs/"+string(id), "", "If-None-Match: "+etag)
	require.Equal(c.t, http.StatusNotModified, a.Status)
	require.Equal(c.t, etag, a.Header.Get("ETag"))
	require.Empty(c.t, a.Body)
	a = c.api("GET", "/v1/jobs/"+string(id), "", `If-None-Match: W/"0"`)
	require.Equal(c.t, http.StatusOK, a.Status)

	head := c.run("--head", "--http1.1", "--header", "Authorization: Bearer "+c.solo.Key(), c.solo.URL()+"/v1/jobs/"+string(id))
	require.True(c.t, strings.HasPrefix(head, "HTTP/1.1 200 OK\r\n"), head)
	require.Contains(c.t, head, etag)
}

func curlEvents(c *curl) {
	long := "" // so that it is not over before curl asks
	for n := range 30 {
		long += story(fmt.Sprintf("who watches for %d hours", n))
	}
	text, err := json.Marshal(long)
	require.NoError(c.t, err)
	a := c.api("POST", "/v1/jobs", fmt.Sprintf(`{"input":{"text":%s},"language":"en"}`, text))
	id := c.document(a.Body).ID
	stream := c.run("--no-buffer", "--fail", "--header", "Authorization: Bearer "+c.solo.Key(), c.solo.URL()+"/v1/jobs/"+string(id)+"/events")
	var last jobdoc.Event
	seen := 0
	for line := range bytes.Lines([]byte(stream)) {
		data, ok := bytes.CutPrefix(line, []byte("data: "))
		if !ok {
			continue
		}
		before := last.Version
		require.NoError(c.t, json.Unmarshal(data, &last), "%s", data)
		require.True(c.t, seen == 0 || last.Version > before, "version %d came after %d", last.Version, before)
		seen++
	}
	require.Greater(c.t, seen, 1, "%s", stream)
	require.Equal(c.t, job.StateSucceeded, last.State)
	a = c.api("GET", "/v1/jobs/"+string(id)+"/events", "", fmt.Sprintf("Last-Event-ID: %d", last.Version))
	require.Equal(c.t, http.StatusNoContent, a.Status)
}

func curlProblem(c *curl) {
	a := c.api("POST", "/v1/jobs", `{"input":{"text":"Hello."},"voice":"nobody","speed":9}`, "X-Request-Id: mine")
	require.Equal(c.t, http.StatusUnprocessableEntity, a.Status, "%s", a.Body)
	require.Equal(c.t, "application/problem+json", a.Header.Get("Content-Type"))
	var problem struct {
		Type, Title string
		Status      int
		RequestID   string `json:"request_id"`
		Errors      []job.Fault
	}
	require.NoError(c.t, json.Unmarshal(a.Body, &problem))
	require.Equal(c.t, "/problems/invalid-request", problem.Type)
	require.Equal(c.t, "mine", problem.RequestID)
	require.Len(c.t, problem.Errors, 2, "every fault at once")
	a = c.api("GET", "/v1/jobs", "", "Authorization: Bearer vm_0123456789abcdefghjkmnpqrs")
	require.Equal(c.t, http.StatusUnauthorized, a.Status, "%s", a.Body)
}
