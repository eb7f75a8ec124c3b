package gateway_test

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/platform/blob"
)

func TestATimelineIsReadFromTheManifest(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	id := w.submitted(hello)
	path := "/v1/jobs/" + string(id) + "/timeline"
	require.Equal(t, http.StatusNotFound, w.call("GET", path, "").Status, "not yet")

	const manifest = `{"format":"voicemill manifest 1","job":"job_1","state":"succeeded","title":"T","language":"en","chapters":[
{"ordinal":1,"title":"One","artifact":"chapter-001.wav","sample_rate":1000,"start_seconds":0,"audio_seconds":1.5,"segments":[
{"n":1,"text":"Hello there.","voice":"v","language":"en","source":{"document":"a.xhtml","start":3,"end":9},"start_sample":0,"samples":1000,"sentences":[[0,12,0]],"words":[[0,5,0],[6,11,500]]}]}],"totals":{}}`
	key := "jobs/default/" + string(id) + "/1/manifest.json"
	_, err := w.bucket.Put(t.Context(), key, strings.NewReader(manifest), int64(len(manifest)), blob.PutOptions{ContentType: "application/json"})
	require.NoError(t, err)
	w.exec(`insert into artifacts (job_id, name, media_type, object_key, bytes, sha256) values ($1, 'manifest.json', 'application/json', $2, $3, sha256(''))`, id, key, len(manifest))

	whole := w.call("GET", path, "")
	require.Equal(t, http.StatusOK, whole.Status, "%s", whole.Body)
	require.True(t, json.Valid(whole.Body))
	require.Contains(t, string(whole.Body), `"words":[{"text":"Hello","start_seconds":0},{"text":"there","start_seconds":0.5}]`)
	tag := whole.Header.Get("ETag")
	require.Equal(t, http.StatusNotModified, w.call("GET", path, "", "If-None-Match", tag).Status)
	require.Equal(t, http.StatusOK, w.call("GET", path+"?chapter=1", "").Status)
	require.Empty(t, w.call("HEAD", path, "").Body)
	for query, want := range map[string]int{"?chapter=2": 404, "?chapter=0": 400, "?chapter=x": 400, "?page=1": 400} {
		require.Equal(t, want, w.call("GET", path+query, "").Status, query)
	}
	require.Equal(t, http.StatusNotFound, w.call("GET", path, "", "Authorization", "Bearer "+w.other).Status)
	require.Equal(t, http.StatusForbidden, w.call("GET", path, "", "Authorization", "Bearer "+w.newKey(tenant, "jobs:write")).Status)

	r, err := w.client(w.key).Timeline(t.Context(), id, 1)
	require.NoError(t, err)
	defer func() { _ = r.Close() }()
	got, err := io.ReadAll(r)
	require.NoError(t, err)
	require.Equal(t, string(whole.Body), string(got))
}
