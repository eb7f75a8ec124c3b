package gateway_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/api/client"
	"github.com/voicemill/voicemill/gateway"
	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/platform/blob"
)

func TestAnUploadedDocumentBecomesAJob(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	c := w.client(w.key)
	text := strings.Repeat("A long book. ", 100_000)
	id, err := c.Upload(t.Context(), job.MediaMarkdown, strings.NewReader(text), int64(len(text)))
	require.NoError(t, err)
	a := w.call("POST", "/v1/jobs", fmt.Sprintf(`{"input":{"upload":%q},"voice":"anna-de"}`, id))
	require.Equal(t, http.StatusAccepted, a.Status, "%s", a.Body)
	got := w.take(1)[0]
	require.Equal(t, "uploads/default/"+id, got.SourceKey)
	require.NotEmpty(t, got.SourceETag)
	require.Equal(t, job.MediaMarkdown, got.Spec.Input.Media, "what the upload said it is")
	info, err := w.bucket.Stat(t.Context(), got.SourceKey)
	require.NoError(t, err)
	require.Equal(t, int64(len(text)), info.Size)
	require.Equal(t, got.SourceETag, info.ETag)
}

func TestAnUploadThatCannotBeUsedIsNamed(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *gateway.Config) { c.UploadBytes = 1000 })
	c := w.client(w.key)
	upload := func(size int) string {
		u, err := c.CreateUpload(t.Context(), job.MediaText, 0)
		require.NoError(t, err)
		if size >= 0 {
			require.NoError(t, c.Put(t.Context(), u, strings.NewReader(strings.Repeat("x", size)), int64(size)))
		}
		return u.ID
	}
	expired := upload(10)
	w.exec(`update uploads set expires_at = now() - interval '1 second' where id = $1`, expired)
	foreign, err := w.client(w.other).Upload(t.Context(), job.MediaText, strings.NewReader("x"), 1)
	require.NoError(t, err)
	for name, k := range map[string]struct {
		id     string
		status int
		detail string
	}{
		"never finished": {upload(-1), 422, "was never finished"},
		"empty":          {upload(0), 422, "is empty"},
		"too large":      {upload(1001), 413, "1001 bytes; at most 1000"},
		"expired":        {expired, 422, "expired at"},
		"another's":      {foreign, 422, "is not known"},
		"just fits":      {upload(1000), 202, ""},
	} {
		a := w.call("POST", "/v1/jobs", fmt.Sprintf(`{"input":{"upload":%q}}`, k.id))
		require.Equal(t, k.status, a.Status, "%s: %s", name, a.Body)
		require.Contains(t, string(a.Body), k.detail, name)
		if k.status == 413 {
			require.Equal(t, "/problems/upload-too-large", a.problem(t).Type)
		}
	}
	a := w.call("POST", "/v1/jobs", fmt.Sprintf(`{"input":{"upload":%q},"voice":"nobody","speed":7}`, upload(-1)))
	require.Len(t, a.problem(t).Errors, 3, "every fault at once: %s", a.Body)
}

func TestACoverIsLookedAtWhenItIsNamed(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	c := w.client(w.key)
	put := func(media, text string) string {
		id, err := c.Upload(t.Context(), media, strings.NewReader(text), int64(len(text)))
		require.NoError(t, err)
		return id
	}
	unfinished, err := c.CreateUpload(t.Context(), job.MediaPNG, 0)
	require.NoError(t, err)
	foreign, err := w.client(w.other).Upload(t.Context(), job.MediaPNG, strings.NewReader("x"), 1)
	require.NoError(t, err)
	text := put(job.MediaText, "x")
	for id, detail := range map[string]string{
		unfinished.ID:    "PUT the picture to its URL first",
		foreign:          "is not known",
		"upl_nobody":     "is not known",
		text:             "is no picture: its media type is text/plain",
		"https://x/y.is": "must be the id of an upload",
	} {
		a := w.call("POST", "/v1/jobs", fmt.Sprintf(`{"input":{"text":"a"},"output":{"metadata":{"cover":%q}}}`, id))
		require.Equal(t, 422, a.Status, "%s", a.Body)
		require.Contains(t, string(a.Body), detail)
		require.Equal(t, "/output/metadata/cover", a.problem(t).Errors[0].Pointer)
	}
	picture := put(job.MediaJPEG, "x")
	a := w.call("POST", "/v1/jobs", fmt.Sprintf(`{"input":{"upload":%q}}`, picture))
	require.Equal(t, 422, a.Status)
	require.Contains(t, string(a.Body), "is no document: its media type is image/jpeg")
	a = w.call("POST", "/v1/jobs", fmt.Sprintf(`{"input":{"upload":%q},"output":{"metadata":{"cover":%q}}}`, text, picture))
	require.Equal(t, http.StatusAccepted, a.Status, "%s", a.Body)
	got := w.take(1)[0]
	require.Equal(t, picture, got.Spec.Output.Metadata.Cover)
	require.Equal(t, "uploads/default/"+text, got.SourceKey)
}

func TestUploadRequestsAreChecked(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	for body, want := range map[string]int{
		`{"media_type":"text/plain"}`:                      201,
		`{"media_type":"text/plain","bytes":5}`:            201,
		`{"media_type":"text/plain","bytes":999999999999}`: 413,
		`{"media_type":"text/plain","bytes":-1}`:           422,
		`{"media_type":"text/plain","bytes":0}`:            422,
		`{"media_type":"text/plain","bytes":5.0}`:          201,
		`{"media_type":"text/plain","bytes":1.5}`:          422,
		`{"media_type":"application/pdf"}`:                 422,
		`{"media_type":"image/png","bytes":4194304}`:       201,
		`{"media_type":"image/png","bytes":4194305}`:       413,
		`{}`:                                     422,
		`{"media_type":"text/plain","name":"x"}`: 422,
		`nonsense`:                               400,
	} {
		require.Equal(t, want, w.call("POST", "/v1/uploads", body).Status, body)
	}
	once := w.call("POST", "/v1/uploads", `{"media_type":"text/plain"}`, "Idempotency-Key", "u1")
	again := w.call("POST", "/v1/uploads", `{"media_type":"text/plain"}`, "Idempotency-Key", "u1")
	var first, second client.Upload
	require.NoError(t, json.Unmarshal(once.Body, &first))
	require.NoError(t, json.Unmarshal(again.Body, &second))
	require.Equal(t, first.ID, second.ID)
	require.Equal(t, http.StatusConflict, w.call("POST", "/v1/uploads", `{"media_type":"text/html"}`, "Idempotency-Key", "u1").Status)
}

// putDirectly sends a document to the bucket as anybody could, with other fields
// than those that it was told to send.
func putDirectly(t *testing.T, u *client.Upload, text string, other map[string]string) int {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), u.Method, u.URL, strings.NewReader(text))
	require.NoError(t, err)
	for name, value := range u.Headers {
		req.Header.Set(name, value)
	}
	for name, value := range other {
		req.Header.Del(name)
		if value != "" {
			req.Header.Set(name, value)
		}
	}
	resp, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	return resp.StatusCode
}

func TestAPlaceToUploadToTakesWhatWasDeclaredAndOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	c := w.client(w.key)
	u, err := c.CreateUpload(t.Context(), job.MediaText, 5)
	require.NoError(t, err)
	require.EqualValues(t, 5, u.MaxBytes)
	for name, try := range map[string]struct {
		text  string
		other map[string]string
	}{
		"longer":                {"Books.", nil},
		"shorter":               {"x", nil},
		"of another type":       {"Book.", map[string]string{"Content-Type": "text/html"}},
		"without the condition": {"Book.", map[string]string{"If-None-Match": ""}},
	} {
		require.Equal(t, http.StatusForbidden, putDirectly(t, u, try.text, try.other), name)
	}
	require.NotEqual(t, http.StatusOK, putDirectly(t, u, strings.Repeat("x", 5<<20), nil))
	require.Equal(t, http.StatusOK, putDirectly(t, u, "Book.", nil))
	require.Equal(t, http.StatusPreconditionFailed, putDirectly(t, u, "Other", nil))
	require.Equal(t, job.Conflict, kindOf(t, c.Put(t.Context(), u, strings.NewReader("Other"), 5)))
	a := w.call("POST", "/v1/jobs", fmt.Sprintf(`{"input":{"upload":%q}}`, u.ID))
	require.Equal(t, http.StatusAccepted, a.Status, "%s", a.Body)
	kept, _, err := w.bucket.Get(t.Context(), w.take(1)[0].SourceKey, blob.GetOptions{})
	require.NoError(t, err)
	text, err := io.ReadAll(kept)
	require.NoError(t, err)
	require.NoError(t, kept.Close())
	require.Equal(t, "Book.", string(text))
}
