package gateway_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/api/client"
	"github.com/voicemill/voicemill/gateway"
	"github.com/voicemill/voicemill/gateway/internal/limit"
	"github.com/voicemill/voicemill/job"
)

// lineAnswer is one line of the answer to a batch.
type lineAnswer struct {
	Line    int
	Status  int
	ID      job.ID
	Problem *client.Problem
}

func (w *world) batch(body string, headers ...string) answer {
	w.t.Helper()
	return w.call("POST", "/v1/jobs:batch", body, append([]string{"Content-Type", "application/x-ndjson"}, headers...)...)
}

func (a answer) lines(t *testing.T) []lineAnswer {
	t.Helper()
	require.Equal(t, http.StatusOK, a.Status, "%s", a.Body)
	require.Equal(t, "application/x-ndjson", a.Header.Get("Content-Type"))
	var all []lineAnswer
	for raw := range bytes.Lines(a.Body) {
		var l lineAnswer
		require.NoError(t, json.Unmarshal(raw, &l), "%s", raw)
		all = append(all, l)
	}
	return all
}

func TestABatchIsAnsweredLineForLine(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	lines := []struct {
		body   string
		status int
		slug   string
		says   string
	}{
		{hello, 202, "", ""},
		{``, 400, "not-json", "The line is empty"},
		{"   \t", 400, "not-json", "The line is empty"},
		{`{"input":`, 400, "not-json", "not JSON at byte 9"},
		{"{\"input\":{\"text\":\"\xff\"}}", 400, "not-json", "not UTF-8"},
		{hello + hello, 400, "not-json", "more after the value"},
		{hello + "\r", 202, "", ""},
		{`[]`, 422, "invalid-request", "must be an object"},
		{`{"input":{"text":"…"},"speed":9}`, 422, "invalid-request", "2 faults"},
		{`{"input":{"text":"x"},"voice":"nobody"}`, 422, "invalid-request", "not known"},
		{`{"input":{"upload":"upl_unknown"}}`, 422, "invalid-request", "not known"},
		{`{"input":{"text":"` + strings.Repeat("long ", 60_000) + `"}}`, 413, "text-too-large", ""},
		{`{"input":{"text":"` + strings.Repeat("x", 1<<20) + `"}}`, 413, "too-large", "more than 1048576 bytes"},
		{`{"input":{"text":"` + strings.Repeat("y ", 100_000) + `"}}`, 202, "", ""},
		{`{"input":{"text":"The last one."},"class":"interactive"}`, 202, "", ""},
	}
	for _, end := range []string{"", "\n"} {
		var body []string
		for _, l := range lines {
			body = append(body, l.body)
		}
		got := w.batch(strings.Join(body, "\n") + end).lines(t)
		require.Len(t, got, len(lines))
		var ids []job.ID
		for i, l := range lines {
			require.Equal(t, i+1, got[i].Line)
			require.Equal(t, l.status, got[i].Status, "line %d: %+v", i+1, got[i].Problem)
			if l.status == http.StatusAccepted {
				ids = append(ids, got[i].ID)
				continue
			}
			require.Equal(t, "/problems/"+l.slug, got[i].Problem.Type)
			require.Contains(t, got[i].Problem.Detail, l.says)
		}
		jobs := w.take(4)
		for i, j := range jobs {
			require.Equal(t, ids[i], j.ID, "the order is kept")
			require.Equal(t, http.StatusOK, w.call("GET", "/v1/jobs/"+string(j.ID), "").Status)
		}
		require.Equal(t, job.Interactive, jobs[3].Spec.Class)
	}
}

func TestABatchThatCannotBeReadIsRefusedWhole(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	require.Equal(t, http.StatusBadRequest, w.batch("").Status)
	require.Equal(t, http.StatusUnsupportedMediaType, w.call("POST", "/v1/jobs:batch", hello).Status)
	require.Equal(t, http.StatusUnsupportedMediaType, w.batch(hello, "Content-Encoding", "br").Status)
	require.Equal(t, http.StatusBadRequest, w.batch(hello, "Idempotency-Key", strings.Repeat("x", 256)).Status)
	require.Equal(t, http.StatusUnauthorized, w.batch(hello, "Authorization", "").Status)
	require.Equal(t, http.StatusMethodNotAllowed, w.call("GET", "/v1/jobs:batch", "").Status)
}

// numbered returns so many lines, each with its number.
func numbered(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, `{"input":{"text":"Number %d."},"labels":{"n":"%d"}}`+"\n", i+1, i+1)
	}
	return b.String()
}

func TestABatchTakesTenThousandJobsAndNoMore(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	const most = 10_000
	// This client sends all before it reads anything, as some do.
	c, err := net.Dial("tcp", strings.TrimPrefix(w.url, "http://")) //nolint:noctx // ends with the test
	require.NoError(t, err)
	defer func() { _ = c.Close() }()
	require.NoError(t, c.SetDeadline(time.Now().Add(2*time.Minute)))
	body := numbered(most + 5)
	_, err = fmt.Fprintf(c, "POST /v1/jobs:batch HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Type: application/x-ndjson\r\nContent-Length: %d\r\n\r\n%s", w.key, len(body), body)
	require.NoError(t, err)
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	require.NoError(t, err)
	raw, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	got := answer{Status: resp.StatusCode, Header: resp.Header, Body: raw}.lines(t)
	require.Len(t, got, most+1)
	for i, l := range got[:most] {
		require.Equal(t, http.StatusAccepted, l.Status, "line %d: %+v", l.Line, l.Problem)
		require.Equal(t, i+1, l.Line)
	}
	require.Equal(t, http.StatusRequestEntityTooLarge, got[most].Status)
	require.Equal(t, "/problems/too-many-lines", got[most].Problem.Type)
	for i, j := range w.take(most) {
		require.Equal(t, got[i].ID, j.ID)
		require.Equal(t, fmt.Sprint(i+1), j.Spec.Labels["n"])
	}
}

func TestTheSameBatchAgainIsTheSameJobs(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	body := numbered(300) + "no JSON\n" + numbered(2)
	first := w.batch(body, "Idempotency-Key", "b1").lines(t)
	jobs := w.take(302)
	for _, j := range jobs[:100] { // the scheduler has some
		w.write(j)
	}
	second := w.batch(body, "Idempotency-Key", "b1").lines(t)
	for i := range first {
		require.Equal(t, first[i].ID, second[i].ID)
		require.Equal(t, first[i].Status, second[i].Status)
	}
	require.Len(t, w.take(202), 202, "only what has not arrived is sent again")

	other := strings.Replace(body, "Number 7.", "Number seven.", 1)
	third := w.batch(other, "Idempotency-Key", "b1").lines(t)
	require.Equal(t, http.StatusConflict, third[6].Status)
	require.Equal(t, "/problems/idempotency-key-reused", third[6].Problem.Type)
	require.Equal(t, first[7].ID, third[7].ID)
	require.NotEqual(t, first[0].ID, w.batch(body, "Idempotency-Key", "b2").lines(t)[0].ID)
	require.NotEqual(t, first[0].ID, w.batch(body).lines(t)[0].ID)
}

func TestABatchIsAnsweredWhileItIsSent(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	body, lines := io.Pipe()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, w.url+"/v1/jobs:batch", body)
	require.NoError(t, err)
	req.Header.Set("Authorization", "Bearer "+w.key)
	req.Header.Set("Content-Type", "application/x-ndjson")
	req.Header.Set("Idempotency-Key", "cut")
	defer func() { _ = lines.Close() }()
	go func() { _, _ = io.WriteString(lines, hello+"\n") }()
	resp, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(req)
	require.NoError(t, err)
	defer func() { _ = resp.Body.Close() }()
	in := bufio.NewReader(resp.Body)
	var ids []job.ID
	for n := range 3 {
		raw, err := in.ReadBytes('\n')
		require.NoError(t, err)
		var l lineAnswer
		require.NoError(t, json.Unmarshal(raw, &l))
		require.Equal(t, n+1, l.Line)
		require.Equal(t, http.StatusAccepted, l.Status)
		ids = append(ids, l.ID)
		for _, part := range []string{hello[:10], hello[10:], "\n"} { // the next line, now that this one is answered
			_, err = io.WriteString(lines, part)
			require.NoError(t, err)
		}
	}
	_, err = io.WriteString(lines, hello[:10])
	require.NoError(t, err)
	cancel() // in the middle of line 5
	got := w.batch(strings.Repeat(hello+"\n", 5), "Idempotency-Key", "cut").lines(t)
	for n, id := range ids {
		require.Equal(t, id, got[n].ID, "a retry after a cut has the same ids")
	}
	require.Len(t, got, 5)
}

func TestABatchIsLimitedLikeItsJobs(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *gateway.Config) {
		c.KeyRate = limit.Rate{Count: 1, Per: time.Hour, Burst: 3} // the batch itself is one
		c.TenantText = limit.Rate{Count: 1, Per: time.Hour, Burst: 30}
	})
	got := w.batch(strings.Repeat(hello+"\n", 3)).lines(t)
	require.Equal(t, []int{202, 202, 429}, []int{got[0].Status, got[1].Status, got[2].Status})
	require.Contains(t, got[2].Problem.Detail, "requests of this API key")
	require.Equal(t, http.StatusTooManyRequests, w.batch(hello).Status)

	paced := newWorld(t, func(c *gateway.Config) { c.KeyRate = limit.Rate{Count: 20, Per: time.Second, Burst: 2} })
	for _, l := range paced.batch(numbered(10)).lines(t) {
		require.Equal(t, http.StatusAccepted, l.Status, "a limit that passes soon is waited for")
	}
	text := newWorld(t, func(c *gateway.Config) { c.TenantText = limit.Rate{Count: 1, Per: time.Hour, Burst: 20} })
	got = text.batch(hello + "\n" + hello).lines(t)
	require.Equal(t, []int{202, 429}, []int{got[0].Status, got[1].Status})
}

func TestABatchWithoutABusIsRefusedLineForLine(t *testing.T) {
	t.Parallel()
	w := newWorld(t, losesItsBus)
	require.Equal(t, http.StatusAccepted, w.batch(hello).lines(t)[0].Status)
	w.nats.Stop()
	a := w.batch(hello)
	if a.Status == http.StatusOK { // it was not known yet
		require.Equal(t, http.StatusServiceUnavailable, a.lines(t)[0].Status)
		return
	}
	require.Equal(t, http.StatusServiceUnavailable, a.Status)
}
