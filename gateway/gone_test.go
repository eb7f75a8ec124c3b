package gateway_test

import (
	"encoding/json"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A voice whose workers are gone says so, a job for it is accepted and says so, and
// after a week it is not offered any more.
func TestAVoiceWhoseWorkersAreGoneSaysSoAndLeaves(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	require.NoError(t, w.stop())
	w.exec(`update voices set pool = 'gpu' where name = 'anna-de'`)
	w.exec(`insert into voices (name, pool, language, engine, sample_rate) values ('old', 'attic', 'fr', 'e', 22050)`)
	w.exec(`insert into pool_workers (pool, worker, seen_at) values
		('espeak', 'a', now()), ('gpu', 'b', now() - interval '1 minute'), ('gpu', 'c', now() - interval '1 hour'), ('attic', 'd', now() - interval '8 days')`)
	w.start()
	var page struct {
		Items []struct {
			Name             string
			Available        bool
			UnavailableSince *time.Time `json:"unavailable_since"`
		}
	}
	require.Eventually(t, func() bool {
		a := w.call("GET", "/v1/voices", "")
		return a.Status == http.StatusOK && json.Unmarshal(a.Body, &page) == nil && len(page.Items) > 0
	}, time.Minute, 20*time.Millisecond)
	require.Len(t, page.Items, 2)
	require.Equal(t, "anna-de", page.Items[0].Name)
	require.False(t, page.Items[0].Available)
	require.WithinDuration(t, time.Now().Add(-time.Minute), *page.Items[0].UnavailableSince, 30*time.Second)
	require.True(t, page.Items[1].Available)
	require.Nil(t, page.Items[1].UnavailableSince)

	for _, body := range []string{
		`{"input":{"text":"Hallo."},"voice":"anna-de"}`, `{"input":{"text":"Hallo."},"language":"de"}`,
		`{"input":{"segments":[{"text":"Hello."},{"text":"Hallo.","voice":"anna-de"}]}}`,
	} {
		a := w.call("POST", "/v1/jobs", body)
		require.Equal(t, http.StatusAccepted, a.Status, "%s", a.Body)
		d := a.job(t)
		require.NotNil(t, d.Waiting, body)
		require.Equal(t, "gpu gone", d.Waiting.Pool+" "+d.Waiting.Reason)
	}
	require.Nil(t, w.call("POST", "/v1/jobs", `{"input":{"text":"Hello."},"language":"en"}`).job(t).Waiting)
	require.Equal(t, http.StatusUnprocessableEntity, w.call("POST", "/v1/jobs", `{"input":{"text":"Salut."},"voice":"old"}`).Status)
}
