package gateway_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/gateway"
	"github.com/voicemill/voicemill/job"
)

func TestADeletedJobIsGoneForEverybody(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	id := w.submitted(hello)
	early := w.call("POST", "/v1/jobs", hello, "Idempotency-Key", "k").job(t).ID
	w.take(1)
	for _, id := range []job.ID{id, early} {
		path := "/v1/jobs/" + string(id)
		require.Equal(t, http.StatusOK, w.call("GET", path, "").Status)
		require.NoError(t, gateway.DeleteJob(t.Context(), w.db, tenant, id))
		require.Eventually(t, func() bool { return w.call("GET", path, "").Status == http.StatusNotFound }, time.Minute, 10*time.Millisecond, "documents are kept for a second")
		require.Equal(t, "The job was deleted.", w.call("GET", path, "").problem(t).Detail)
		require.Equal(t, http.StatusNotFound, w.call("GET", path+"?wait=1", "").Status)
		require.Equal(t, http.StatusNotFound, w.call("GET", path+"/events", "").Status)
		require.Equal(t, job.NotFound, job.KindOf(gateway.DeleteJob(t.Context(), w.db, tenant, id)))
	}
	require.Equal(t, early, w.call("POST", "/v1/jobs", hello, "Idempotency-Key", "k").job(t).ID, "the same request is the same job, which is over")
	require.Equal(t, job.NotFound, job.KindOf(gateway.DeleteJob(t.Context(), w.db, "other", w.mintedFor(tenant))))
}

// An id says when it was minted: a job that has no row for so long has none any more.
func TestAnOldIDWithoutARowIsOfADeletedJob(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	for age, want := range map[time.Duration]int{
		job.LongestArrival - time.Minute: http.StatusOK,
		job.LongestArrival + time.Minute: http.StatusNotFound,
	} {
		id := w.mintedAt(tenant, time.Now().Add(-age))
		require.Equal(t, want, w.call("GET", "/v1/jobs/"+string(id), "").Status, age)
	}
}
