package gateway_test

import (
	"encoding/json"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/gateway"
	"github.com/voicemill/voicemill/job"
)

// keepForLong makes only news end what is kept, so that a test that hears of a
// change has heard of it that way.
func keepForLong(c *gateway.Config) { c.DocumentAge = time.Minute }

func TestAStatusIsAnsweredFromMemoryUntilTheBusTellsOfANewVersion(t *testing.T) {
	t.Parallel()
	w := newWorld(t, keepForLong)
	id := w.stored()
	path := "/v1/jobs/" + string(id)
	first := w.call("GET", path, "")
	require.Equal(t, int64(1), first.job(t).Version)

	w.exec("update jobs set state = 'queued', version = 2 where id = $1", id)
	again := w.call("GET", path, "")
	require.Equal(t, first.Body, again.Body, "nobody has told of version 2")
	require.Equal(t, first.Header.Get("ETag"), again.Header.Get("ETag"))
	require.NotEqual(t, first.Header.Get("X-Request-Id"), again.Header.Get("X-Request-Id"))
	require.Equal(t, "private, no-cache", again.Header.Get("Cache-Control"))
	require.NotEmpty(t, again.Header.Get("RateLimit"))
	require.Equal(t, first.Header.Get("RateLimit-Policy"), again.Header.Get("RateLimit-Policy"))
	require.Equal(t, "mine", w.call("GET", path, "", "X-Request-Id", "mine").Header.Get("X-Request-Id"))

	same := w.call("GET", path, "", "If-None-Match", `W/"1"`)
	require.Equal(t, http.StatusNotModified, same.Status)
	require.Empty(t, same.Body)
	require.Empty(t, same.Header.Get("Content-Type"))
	require.Equal(t, `W/"1"`, same.Header.Get("ETag"))
	require.Equal(t, http.StatusOK, w.call("GET", path, "", "If-None-Match", `W/"7"`).Status)
	require.Equal(t, http.StatusNotFound, w.call("GET", path, "", "Authorization", "Bearer "+w.other).Status, "another tenant's")
	require.Equal(t, http.StatusUnauthorized, w.call("GET", path, "", "Authorization", "Bearer vm_00000000000000000000000000").Status)

	w.bus.Hint(id, 2)
	require.Eventually(t, func() bool { return w.call("GET", path, "").job(t).Version == 2 }, time.Minute, 10*time.Millisecond)
}

func TestWhatAClientWasShownIsNeverTakenBack(t *testing.T) {
	t.Parallel()
	for name, show := range map[string]func(w *world, path string) int64{
		"by a long poll": func(w *world, path string) int64 {
			return w.call("GET", path+"?wait=5", "", "If-None-Match", `W/"1"`).job(w.t).Version
		},
		"by the list": func(w *world, _ string) int64 {
			var page struct{ Items []struct{ Version int64 } }
			require.NoError(w.t, json.Unmarshal(w.call("GET", "/v1/jobs", "").Body, &page))
			return page.Items[0].Version
		},
		"by its own cancel": func(w *world, path string) int64 { return w.call("POST", path+"/cancel", "").job(w.t).Version },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, keepForLong)
			id := w.stored()
			path := "/v1/jobs/" + string(id)
			require.Equal(t, int64(1), w.call("GET", path, "").job(t).Version)
			w.exec("update jobs set state = 'queued', version = 2 where id = $1", id)
			shown := show(w, path)
			require.GreaterOrEqual(t, shown, int64(2))
			require.GreaterOrEqual(t, w.call("GET", path, "").job(t).Version, shown)
		})
	}
}

func TestACancelBeforeTheFirstVersionIsSeenAtOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t, keepForLong)
	id := w.call("POST", "/v1/jobs", hello).job(t).ID
	path := "/v1/jobs/" + string(id)
	require.Equal(t, job.StateAccepted, w.call("GET", path, "").job(t).State)
	require.Equal(t, job.StateCancelled, w.call("POST", path+"/cancel", "").job(t).State)
	a := w.call("GET", path, "")
	require.Equal(t, job.StateCancelled, a.job(t).State)
	require.Equal(t, `W/"0-cancelled"`, a.Header.Get("ETag"))
}

func TestWithoutNewsADocumentIsBelievedForAMomentOnly(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *gateway.Config) { c.DocumentAge = 50 * time.Millisecond })
	id := w.stored()
	path := "/v1/jobs/" + string(id)
	require.Equal(t, int64(1), w.call("GET", path, "").job(t).Version)
	w.exec("update jobs set state = 'queued', version = 2 where id = $1", id) // and the hint is lost
	require.Eventually(t, func() bool { return w.call("GET", path, "").job(t).Version == 2 }, time.Minute, 10*time.Millisecond)
	w.gwDB.Close() // Postgres is away: nothing is answered from what was known
	require.Eventually(t, func() bool { return w.call("GET", path, "").Status >= 500 }, time.Minute, 10*time.Millisecond)
}

// stored makes a job of version 1.
func (w *world) stored() job.ID {
	w.t.Helper()
	d := w.call("POST", "/v1/jobs", hello).job(w.t)
	w.write(w.take(1)[0])
	return d.ID
}

// The pool of a job changes without the job: its version stays, its document does not.
func TestAJobSaysThatItsPoolTakesNoWork(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	id := w.stored()
	path := "/v1/jobs/" + string(id)
	w.exec(`update jobs set state = 'queued' where id = $1`, id)
	w.exec(`insert into retries (job, n, pool, attempts) select num, 1, 'gpu', 1 from jobs where id = $1`, id)
	before := w.call("GET", path, "")
	require.Nil(t, before.job(t).Waiting, "nobody was heard of yet")

	w.exec(`insert into pool_workers (pool, worker, waiting_since, waiting_reason) values ('gpu', 'a', now() - interval '1 minute', 'sick'), ('gpu', 'b', null, null)`)
	require.Nil(t, w.call("GET", path, "").job(t).Waiting, "one of two works")
	w.exec(`update pool_workers set waiting_since = now(), waiting_reason = 'misconfigured' where worker = 'b'`)
	var got answer
	require.Eventually(t, func() bool { got = w.call("GET", path, ""); return got.job(t).Waiting != nil }, time.Minute, 20*time.Millisecond)
	require.Equal(t, "gpu", got.job(t).Waiting.Pool)
	require.Equal(t, "misconfigured", got.job(t).Waiting.Reason)
	require.WithinDuration(t, time.Now(), got.job(t).Waiting.Since.Time, time.Minute, "since when nobody works")
	require.Equal(t, before.job(t).Version, got.job(t).Version)
	require.Equal(t, http.StatusOK, w.call("GET", path, "", "If-None-Match", before.Header.Get("ETag")).Status, "whoever polls is told")
	require.Equal(t, http.StatusNotModified, w.call("GET", path, "", "If-None-Match", got.Header.Get("ETag")).Status)

	w.exec(`update pool_workers set seen_at = now() - interval '1 minute'`)
	require.Eventually(t, func() bool {
		d := w.call("GET", path, "").job(t)
		return d.Waiting != nil && d.Waiting.Reason == "gone"
	}, time.Minute, 20*time.Millisecond)
	w.exec(`update pool_workers set seen_at = now(), waiting_since = null, waiting_reason = null where worker = 'a'`)
	require.Eventually(t, func() bool { return w.call("GET", path, "").job(t).Waiting == nil }, time.Minute, 20*time.Millisecond)
}
