package gateway_test

import (
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
	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/platform/blob"
)

func (w *world) newUpload() client.Upload {
	w.t.Helper()
	a := w.call("POST", "/v1/uploads", `{"media_type":"text/markdown"}`)
	require.Equal(w.t, http.StatusCreated, a.Status, "%s", a.Body)
	var u client.Upload
	require.NoError(w.t, json.Unmarshal(a.Body, &u))
	require.Equal(w.t, "/v1/uploads/"+u.ID+"/content", u.ContentURL)
	return u
}

// send PUTs body to the content of an upload. A body that is no reader that
// package net/http knows is sent in chunks.
func (w *world) send(u client.Upload, body io.Reader, headers ...string) answer {
	w.t.Helper()
	req, err := http.NewRequestWithContext(w.t.Context(), http.MethodPut, w.url+u.ContentURL, body)
	require.NoError(w.t, err)
	req.Header.Set("Authorization", "Bearer "+w.key)
	req.Header.Set("Content-Type", job.MediaMarkdown)
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	tr := &http.Transport{ExpectContinueTimeout: time.Minute}
	defer tr.CloseIdleConnections()
	resp, err := (&http.Client{Transport: w.checked(tr)}).Do(req)
	require.NoError(w.t, err)
	defer func() { _ = resp.Body.Close() }()
	raw, err := io.ReadAll(resp.Body)
	require.NoError(w.t, err)
	return answer{Status: resp.StatusCode, Header: resp.Header, Body: raw}
}

// chunked hides what it is, so that its length is not known.
type chunked struct{ io.Reader }

func TestADocumentGoesThroughTheGateway(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	text := strings.Repeat("A long book. ", 1_000_000)
	for name, body := range map[string]io.Reader{"sized": strings.NewReader(text), "chunked": chunked{strings.NewReader(text)}} {
		u := w.newUpload()
		a := w.send(u, body)
		require.Equal(t, http.StatusCreated, a.Status, "%s: %s", name, a.Body)
		require.JSONEq(t, fmt.Sprintf(`{"id":%q,"media_type":"text/markdown","bytes":%d}`, u.ID, len(text)), string(a.Body))
		again := w.send(u, strings.NewReader("other"))
		require.Equal(t, http.StatusConflict, again.Status, name)
		require.Contains(t, again.problem(t).Detail, fmt.Sprint(len(text)))
		r, info, err := w.bucket.Get(t.Context(), "uploads/default/"+u.ID, blob.GetOptions{})
		require.NoError(t, err)
		got, err := io.ReadAll(r)
		require.NoError(t, err)
		require.NoError(t, r.Close())
		require.True(t, text == string(got) && info.ContentType == job.MediaMarkdown, "%s: %d bytes of %s", name, len(got), info.ContentType)
		require.Equal(t, http.StatusAccepted, w.call("POST", "/v1/jobs", fmt.Sprintf(`{"input":{"upload":%q},"voice":"anna-de"}`, u.ID)).Status)
	}
}

func TestTheClientCanDoWithoutTheBucket(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	c := w.client(w.key)
	u, err := c.CreateUpload(t.Context(), job.MediaMarkdown, 7)
	require.NoError(t, err)
	require.NoError(t, c.PutContent(t.Context(), u, strings.NewReader("A book."), 7))
	require.Equal(t, job.Conflict, kindOf(t, c.PutContent(t.Context(), u, strings.NewReader("A book."), 7)))
	require.Equal(t, job.Invalid, kindOf(t, c.PutContent(t.Context(), &client.Upload{ID: w.newUpload().ID, MediaType: u.MediaType}, strings.NewReader(""), 0)))
	require.Error(t, c.PutContent(t.Context(), u, strings.NewReader(""), -1))

	path, content := w.artifact(100_000)
	id := job.ID(strings.Split(path, "/")[3])
	for offset, from := range map[int64]int64{0: 0, 40_000: 40_000} {
		r, at, err := c.ProxiedArtifact(t.Context(), id, "book.wav", offset)
		require.NoError(t, err)
		got, err := io.ReadAll(r)
		require.NoError(t, err)
		require.NoError(t, r.Close())
		require.Equal(t, from, at)
		require.True(t, bytes.Equal(content[from:], got), "%d bytes", len(got))
	}
	_, _, err = c.ProxiedArtifact(t.Context(), id, "other.wav", 0)
	require.Equal(t, job.NotFound, kindOf(t, err))
}

func TestContentIsCheckedBeforeItIsAskedFor(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *gateway.Config) { c.UploadBytes = 1000 })
	expired := w.newUpload()
	w.exec(`update uploads set expires_at = now() - interval '1 second' where id = $1`, expired.ID)
	unknown := client.Upload{ContentURL: "/v1/uploads/upl_nothing/content"}
	for name, k := range map[string]struct {
		u      client.Upload
		size   int
		header []string
		status int
	}{
		"fits":            {w.newUpload(), 1000, nil, 201},
		"too large":       {w.newUpload(), 1001, nil, 413},
		"empty":           {w.newUpload(), 0, nil, 400},
		"another type":    {w.newUpload(), 10, []string{"Content-Type", "text/plain"}, 415},
		"packed":          {w.newUpload(), 10, []string{"Content-Encoding", "gzip"}, 415},
		"expired":         {expired, 10, nil, 409},
		"unknown":         {unknown, 10, nil, 404},
		"another's":       {w.newUpload(), 10, []string{"Authorization", "Bearer " + w.other}, 404},
		"nobody's":        {w.newUpload(), 10, []string{"Authorization", "Bearer vm_nobody"}, 401},
		"with a type arg": {w.newUpload(), 10, []string{"Content-Type", "text/markdown; charset=utf-8"}, 201},
	} {
		text := strings.Repeat("x", k.size)
		asked := &watched{r: strings.NewReader(text)}
		var body io.Reader = asked
		if k.status == 415 || k.size == 0 {
			body = strings.NewReader(text) // the answer may overtake a small body
		}
		a := w.send(k.u, body, append(k.header, "Expect", "100-continue", "X-Size", fmt.Sprint(k.size))...)
		require.Equal(t, k.status, a.Status, "%s: %s", name, a.Body)
		if k.status != 201 && k.size > 0 && name != "too large" && k.status != 415 {
			require.False(t, asked.read, "%s: the body was sent", name)
		}
		_, err := w.bucket.Stat(t.Context(), "uploads/default/"+k.u.ID)
		require.Equal(t, k.status == 201, err == nil, "%s: %v", name, err)
	}
	u := w.newUpload()
	a := w.wire(fmt.Sprintf("PUT %s HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer %s\r\nContent-Type: text/markdown\r\n\r\n", u.ContentURL, w.key))
	require.Equal(t, http.StatusLengthRequired, a.Status, "neither a length nor chunks")
	require.Equal(t, "/problems/length-required", a.problem(t).Type)
	require.Equal(t, http.StatusCreated, w.send(u, strings.NewReader("text")).Status)
	for name, size := range map[string]int{"chunked, too large": 1001, "chunked, empty": 0} {
		u := w.newUpload()
		a := w.send(u, chunked{io.MultiReader(strings.NewReader(strings.Repeat("x", size)))})
		require.Contains(t, []int{400, 413}, a.Status, "%s: %s", name, a.Body)
		_, err := w.bucket.Stat(t.Context(), "uploads/default/"+u.ID)
		require.Equal(t, job.NotFound, job.KindOf(err), name)
	}
}

// watched notes whether it was read.
type watched struct {
	r    io.Reader
	read bool
}

func (r *watched) Read(p []byte) (int, error) {
	r.read = true
	return r.r.Read(p)
}

func TestContentThatBreaksOffLeavesNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	const part = 12_000_000
	for name, head := range map[string]string{
		"sized":   fmt.Sprintf("Content-Length: %d\r\n\r\n", 2*part),
		"chunked": fmt.Sprintf("Transfer-Encoding: chunked\r\n\r\n%x\r\n", 2*part),
	} {
		u := w.newUpload()
		c, err := new(net.Dialer).DialContext(t.Context(), "tcp", strings.TrimPrefix(w.url, "http://"))
		require.NoError(t, err)
		_, err = fmt.Fprintf(c, "PUT %s HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer %s\r\nContent-Type: text/markdown\r\n%s", u.ContentURL, w.key, head)
		require.NoError(t, err)
		_, err = c.Write(bytes.Repeat([]byte("x"), part))
		require.NoError(t, err)
		require.NoError(t, c.Close())
		require.Eventually(t, func() bool { return strings.Contains(w.log.String(), u.ID+"/content") }, time.Minute, 10*time.Millisecond, "the call is logged when it is over")
		_, err = w.bucket.Stat(t.Context(), "uploads/default/"+u.ID)
		require.Equal(t, job.NotFound, job.KindOf(err), "%s: %v\n%s", name, err, w.log)
		n, err := w.bucket.SweepUploads(t.Context(), time.Now().Add(time.Hour))
		require.NoError(t, err)
		require.Zero(t, n, "%s: parts were left behind", name)
		require.Equal(t, http.StatusCreated, w.send(u, strings.NewReader("again")).Status, name)
	}
}

func TestContentForABucketThatIsAway(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	before, during := w.newUpload(), w.newUpload()
	cut := &cutting{w: w, left: 3_000_000}
	a := w.send(during, cut)
	require.Equal(t, http.StatusServiceUnavailable, a.Status, "%s", a.Body)
	require.NotEmpty(t, a.Header.Get("Retry-After"))
	require.Equal(t, http.StatusServiceUnavailable, w.send(before, strings.NewReader("text")).Status)
	w.s3.set(false)
	require.Eventually(t, func() bool { return w.send(before, strings.NewReader("text")).Status == http.StatusCreated }, time.Minute, 100*time.Millisecond)
	require.Eventually(t, func() bool { return w.send(during, strings.NewReader("text")).Status == http.StatusCreated }, time.Minute, 100*time.Millisecond)
}

// cutting takes the bucket away and ends soon after: what a client goes on to
// send beyond what the gateway still reads may cost it the answer.
type cutting struct {
	w    *world
	left int
}

func (c *cutting) Read(p []byte) (int, error) {
	if c.left -= len(p); c.left < 0 {
		c.w.s3.set(true)
	}
	if c.left < -500_000 {
		return 0, io.EOF
	}
	return len(p), nil
}

// artifact gives a job a finished file of n bytes.
func (w *world) artifact(n int) (path string, content []byte) {
	w.t.Helper()
	a := w.call("POST", "/v1/jobs", `{"input":{"text":"x"},"voice":"anna-de"}`)
	require.Equal(w.t, http.StatusAccepted, a.Status)
	j := w.take(1)[0]
	w.write(j)
	content = make([]byte, n)
	for i := range content {
		content[i] = byte(i % 251)
	}
	key := "jobs/default/" + string(j.ID) + "/book.wav"
	_, err := w.bucket.Put(w.t.Context(), key, bytes.NewReader(content), int64(n), blob.PutOptions{ContentType: "audio/wav"})
	require.NoError(w.t, err)
	w.exec(`insert into artifacts (job_id, name, object_key, media_type, bytes, sha256, audio_seconds) values ($1, 'book.wav', $2, 'audio/wav', $3, $4, 1)`,
		j.ID, key, n, make([]byte, 32))
	return "/v1/jobs/" + string(j.ID) + "/artifacts/book.wav?proxy=1", content
}

func TestAnArtifactComesThroughTheGateway(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	path, content := w.artifact(3_000_000)
	whole := w.call("GET", path, "")
	require.Equal(t, http.StatusOK, whole.Status)
	require.True(t, bytes.Equal(content, whole.Body), "%d bytes", len(whole.Body))
	require.Equal(t, "audio/wav", whole.Header.Get("Content-Type"))
	require.Equal(t, `attachment; filename=book.wav`, whole.Header.Get("Content-Disposition"))
	tag := whole.Header.Get("ETag")
	for name, k := range map[string]struct {
		header   []string
		status   int
		from, to int
		field    string
	}{
		"first":               {[]string{"Range", "bytes=0-99"}, 206, 0, 100, "bytes 0-99/3000000"},
		"middle":              {[]string{"Range", "bytes=1000000-1999999"}, 206, 1_000_000, 2_000_000, "bytes 1000000-1999999/3000000"},
		"to the end":          {[]string{"Range", "bytes=2999990-"}, 206, 2_999_990, 3_000_000, "bytes 2999990-2999999/3000000"},
		"beyond the end":      {[]string{"Range", "bytes=2999990-4000000"}, 206, 2_999_990, 3_000_000, "bytes 2999990-2999999/3000000"},
		"the last":            {[]string{"Range", "bytes=-5"}, 206, 2_999_995, 3_000_000, "bytes 2999995-2999999/3000000"},
		"not there":           {[]string{"Range", "bytes=3000000-"}, 416, 0, 0, "bytes */3000000"},
		"several":             {[]string{"Range", "bytes=0-1,5-6"}, 200, 0, 3_000_000, ""},
		"malformed":           {[]string{"Range", "bytes=x"}, 200, 0, 3_000_000, ""},
		"of this version":     {[]string{"Range", "bytes=0-99", "If-Range", tag}, 206, 0, 100, "bytes 0-99/3000000"},
		"of another version":  {[]string{"Range", "bytes=0-99", "If-Range", `"other"`}, 200, 0, 3_000_000, ""},
		"since a date":        {[]string{"Range", "bytes=0-99", "If-Range", "Mon, 02 Jan 2006 15:04:05 GMT"}, 200, 0, 3_000_000, ""},
		"known":               {[]string{"If-None-Match", `"a", ` + tag}, 304, 0, 0, ""},
		"another known":       {[]string{"If-None-Match", `"a"`}, 200, 0, 3_000_000, ""},
		"known, and a range":  {[]string{"If-None-Match", tag, "Range", "bytes=0-1"}, 304, 0, 0, ""},
		"other unit of range": {[]string{"Range", "lines=0-1"}, 200, 0, 3_000_000, ""},
	} {
		a := w.call("GET", path, "", k.header...)
		require.Equal(t, k.status, a.Status, "%s: %.200s", name, a.Body)
		require.Equal(t, k.field, a.Header.Get("Content-Range"), name)
		if k.status < 300 {
			require.True(t, bytes.Equal(content[k.from:k.to], a.Body), "%s: %d bytes", name, len(a.Body))
		}
	}
	head := w.call("HEAD", path, "", "Range", "bytes=0-9")
	require.Equal(t, http.StatusOK, head.Status)
	require.Equal(t, "3000000", head.Header.Get("Content-Length"))
	require.Equal(t, http.StatusBadRequest, w.call("GET", strings.Replace(path, "=1", "=yes", 1), "").Status)
	require.Equal(t, http.StatusNotFound, w.call("GET", path, "", "Authorization", "Bearer "+w.other).Status)
	require.Equal(t, http.StatusTemporaryRedirect, w.call("GET", strings.TrimSuffix(path, "?proxy=1"), "").Status)
	w.s3.set(true)
	require.Equal(t, http.StatusServiceUnavailable, w.call("GET", path, "").Status)
}

func TestAClientThatLeavesEndsTheReadOfTheBucket(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	path, _ := w.artifact(64 << 20)
	ctx, cancel := context.WithCancel(t.Context())
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, w.url+path, http.NoBody)
	require.NoError(t, err)
	req.Header.Set("Authorization", "Bearer "+w.key)
	tr := &http.Transport{DisableKeepAlives: true}
	resp, err := tr.RoundTrip(req)
	require.NoError(t, err)
	_, err = io.ReadFull(resp.Body, make([]byte, 1000))
	require.NoError(t, err)
	cancel()
	_ = resp.Body.Close()
	require.Eventually(t, func() bool { return strings.Contains(w.log.String(), "error_kind") }, time.Minute, 10*time.Millisecond, "the call is logged when it is over")
	require.NotContains(t, w.log.String(), `"bytes_out":67108864`)
}
