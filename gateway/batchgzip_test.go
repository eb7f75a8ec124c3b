package gateway_test

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func gzipped(t *testing.T, s string) string {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, err := io.WriteString(z, s)
	require.NoError(t, err)
	require.NoError(t, z.Close())
	return b.String()
}

func TestAPackedBatchIsTheSameBatch(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	const jobs = 3000
	body := numbered(jobs)
	packed := gzipped(t, body)
	require.Less(t, len(packed), len(body)/4)
	first := w.batch(packed, "Content-Encoding", "gzip", "Idempotency-Key", "b").lines(t)
	require.Len(t, first, jobs)
	for i, j := range w.take(jobs) {
		require.Equal(t, first[i].ID, j.ID)
	}
	plain := w.batch(numbered(2), "Idempotency-Key", "b").lines(t)
	require.Equal(t, first[0].ID, plain[0].ID, "packed or not, a line is the same line")

	long := `{"input":{"text":"` + strings.Repeat("x", 1<<20) + `"}}`
	got := w.batch(gzipped(t, hello+"\n"+hello), "Content-Encoding", "GZIP").lines(t)
	require.Equal(t, []int{202, 202}, []int{got[0].Status, got[1].Status})
	require.Equal(t, http.StatusRequestEntityTooLarge, w.batch(gzipped(t, long), "Content-Encoding", "gzip").Status, "it is a bomb before it is a long line")
}

func TestAPackedBatchThatIsNoneIsRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	sound := gzipped(t, hello)
	for name, c := range map[string]struct {
		body   string
		status int
		slug   string
	}{
		"plain lines":            {hello, 400, "bad-request"},
		"cut off":                {sound[:len(sound)-3], 400, "bad-request"},
		"something after it":     {sound + "x", 400, "bad-request"},
		"a bomb":                 {gzipped(t, strings.Repeat(" ", 8<<20)), 413, "too-large"},
		"nothing that is packed": {gzipped(t, ""), 400, "bad-request"},
	} {
		a := w.batch(c.body, "Content-Encoding", "gzip")
		require.Equal(t, c.status, a.Status, "%s: %s", name, a.Body)
		require.Equal(t, "/problems/"+c.slug, a.problem(t).Type, name)
	}
}

func TestAPackedBatchIsAnsweredWhileItIsSent(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	body, lines := io.Pipe()
	defer func() { _ = lines.Close() }()
	packed := gzip.NewWriter(lines)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, w.url+"/v1/jobs:batch", body)
	require.NoError(t, err)
	req.Header = http.Header{"Authorization": {"Bearer " + w.key}, "Content-Type": {"application/x-ndjson"}, "Content-Encoding": {"gzip"}}
	send := func(s string) chan error {
		sent := make(chan error, 1)
		go func() {
			_, err := io.WriteString(packed, s)
			if err == nil {
				err = packed.Flush()
			}
			sent <- err
		}()
		return sent
	}
	sent := send(hello + "\n")
	resp, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(req)
	require.NoError(t, err)
	defer func() { _ = resp.Body.Close() }()
	in := bufio.NewReader(resp.Body)
	for n := range 3 {
		require.NoError(t, <-sent)
		raw, err := in.ReadBytes('\n')
		require.NoError(t, err)
		var l lineAnswer
		require.NoError(t, json.Unmarshal(raw, &l))
		require.Equal(t, n+1, l.Line)
		require.Equal(t, http.StatusAccepted, l.Status)
		sent = send(hello + "\n")
	}
	require.NoError(t, <-sent)
	go func() { _, _ = packed.Write(make([]byte, 8<<20)); _ = packed.Flush() }()
	_, err = io.ReadAll(in)
	require.Error(t, err, "a bomb in the middle cuts the answer")
}
