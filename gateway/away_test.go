package gateway_test

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/job"
)

func goTool(t *testing.T, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", args...)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	return string(out)
}

func TestWithoutTheDatabaseEverythingIs503AndNothingIs404(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	id := w.call("POST", "/v1/jobs", hello).job(t).ID
	w.gwDB.Close()
	for _, c := range [][3]string{
		{"GET", "/v1/jobs/" + string(id), ""},
		{"GET", "/v1/jobs/" + string(id) + "?wait=60", ""},
		{"GET", "/v1/jobs", ""},
		{"POST", "/v1/jobs/" + string(id) + "/cancel", ""},
		{"POST", "/v1/uploads", `{"media_type":"text/plain"}`},
		{"GET", "/v1/jobs/" + string(id) + "/segments", ""},
		{"GET", "/v1/keys", ""},
	} {
		start := time.Now()
		a := w.call(c[0], c[1], c[2])
		require.Equal(t, http.StatusServiceUnavailable, a.Status, "%v: %s", c, a.Body)
		require.NotEmpty(t, a.Header.Get("Retry-After"))
		require.Equal(t, "/problems/unavailable", a.problem(t).Type)
		require.Less(t, time.Since(start), 30*time.Second, "%v", c)
		require.NotContains(t, string(a.Body), "pool", "no inside of ours is shown")
	}
	require.Eventually(t, func() bool { return w.call("POST", "/v1/jobs", hello).Status == http.StatusServiceUnavailable }, time.Minute, 50*time.Millisecond)
	require.Equal(t, http.StatusNotFound, w.call("GET", "/v1/jobs/job_x", "").Status, "what was never minted is known without asking")
}

// A database that stands still is noticed by whoever needs it: a submit with an
// idempotency key. One without a key could go into JOBS; it is told the same.
func TestWithoutTheDatabaseASubmitIsToldTheSameWithAndWithoutAKey(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	require.Equal(t, http.StatusAccepted, w.call("POST", "/v1/jobs", hello).Status)
	w.take(1)
	for range w.gwDB.Config().MaxConns { // whoever asks now waits
		c, err := w.gwDB.Acquire(t.Context())
		require.NoError(t, err)
		t.Cleanup(c.Release)
	}
	withKey := w.call("POST", "/v1/jobs", hello, "Idempotency-Key", "once")
	require.Equal(t, http.StatusServiceUnavailable, withKey.Status)
	without := w.call("POST", "/v1/jobs", hello)
	require.Equal(t, http.StatusServiceUnavailable, without.Status)
	require.NotEmpty(t, without.Header.Get("Retry-After"))
	require.Equal(t, withKey.problem(t).Type, without.problem(t).Type)
}

func TestWithoutTheBucketOnlyWhatNeedsItIs503(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	c := w.client(w.key)
	upload, err := c.Upload(t.Context(), job.MediaText, strings.NewReader("Hello."), 6)
	require.NoError(t, err)
	id := w.submitted(hello)
	w.exec(`insert into artifacts (job_id, name, media_type, object_key, bytes, sha256) values ($1, 'a.wav', 'audio/wav', 'jobs/x', 1, sha256('x'))`, id)
	w.s3.set(true)
	for _, k := range [][3]string{
		{"POST", "/v1/uploads", `{"media_type":"text/plain"}`},
		{"POST", "/v1/jobs", fmt.Sprintf(`{"input":{"upload":%q}}`, upload)},
		{"GET", "/v1/jobs/" + string(id) + "/artifacts/a.wav", ""},
	} {
		a := w.call(k[0], k[1], k[2])
		require.Equal(t, http.StatusServiceUnavailable, a.Status, "%v: %s", k, a.Body)
		require.NotEmpty(t, a.Header.Get("Retry-After"))
	}
	require.Equal(t, http.StatusOK, w.call("GET", "/v1/jobs/"+string(id), "").Status)
	require.Equal(t, http.StatusAccepted, w.call("POST", "/v1/jobs", hello).Status)
	w.take(1)

	w.s3.set(false)
	require.Eventually(t, func() bool {
		return w.call("POST", "/v1/jobs", fmt.Sprintf(`{"input":{"upload":%q}}`, upload)).Status == http.StatusAccepted
	}, time.Minute, 100*time.Millisecond)
	w.take(1)
}

func TestWithoutVoicesASubmitIsAskedToComeBack(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	require.NoError(t, w.stop())
	w.exec(`delete from voices`)
	w.start()
	a := w.call("POST", "/v1/jobs", hello)
	require.Equal(t, http.StatusServiceUnavailable, a.Status)
	require.Contains(t, a.problem(t).Detail, "no voices yet")
	w.exec(`insert into voices (name, pool, language, engine, sample_rate) values ('v', 'p', 'en', 'e', 22050)`)
	require.Eventually(t, func() bool { return w.call("POST", "/v1/jobs", hello).Status == http.StatusAccepted }, time.Minute, 50*time.Millisecond)
}
