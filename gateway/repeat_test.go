package gateway_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/api/client"
	"github.com/voicemill/voicemill/gateway"
	"github.com/voicemill/voicemill/job"
)

func TestARepeatedSubmitIsAnsweredAlsoWhenItsUploadHasExpired(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	id, err := w.client(w.key).Upload(t.Context(), job.MediaText, strings.NewReader("A book."), 7)
	require.NoError(t, err)
	body := fmt.Sprintf(`{"input":{"upload":%q}}`, id)
	first := w.call("POST", "/v1/jobs", body, "Idempotency-Key", "book").job(t).ID
	w.write(w.take(1)[0])
	line := w.batch(body, "Idempotency-Key", "books").lines(t)[0]
	require.Equal(t, http.StatusAccepted, line.Status)

	w.exec(`update uploads set expires_at = now() - interval '1 second'`)
	again := w.call("POST", "/v1/jobs", body, "Idempotency-Key", "book")
	require.Equal(t, http.StatusAccepted, again.Status, "%s", again.Body)
	require.Equal(t, first, again.job(t).ID)
	// This one is not in the database yet, so it is sent again; its id makes it one job.
	require.Equal(t, line, w.batch(body, "Idempotency-Key", "books").lines(t)[0])

	for _, key := range []string{"another", ""} {
		require.Equal(t, http.StatusUnprocessableEntity, w.call("POST", "/v1/jobs", body, "Idempotency-Key", key).Status)
		require.Equal(t, http.StatusUnprocessableEntity, w.batch(body, "Idempotency-Key", key).lines(t)[0].Status)
	}
}

func TestManyEqualUploadRequestsWithOneKeyGetOnePlace(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	const clients = 32
	answers := make([]answer, clients)
	var all sync.WaitGroup
	for i := range clients {
		all.Go(func() {
			answers[i], _ = w.try(t.Context(), "POST", "/v1/uploads", `{"media_type":"text/plain"}`, "Idempotency-Key", "u")
		})
	}
	all.Wait()
	ids := map[string]bool{}
	for _, a := range answers {
		require.Equal(t, http.StatusCreated, a.Status, "%s", a.Body)
		var u client.Upload
		require.NoError(t, json.Unmarshal(a.Body, &u))
		ids[u.ID] = true
	}
	require.Len(t, ids, 1)
}

func TestAKeyWhoseFirstRequestWasCutOffIsMade(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	create := func() answer {
		return w.call("POST", "/v1/keys", `{"scopes":["jobs:read"]}`, "Idempotency-Key", "k")
	}
	require.Equal(t, http.StatusCreated, create().Status)
	w.exec(`delete from api_keys where id = (select job_id from idempotency_keys where key = 'k')`)
	require.Equal(t, http.StatusCreated, create().Status)
	require.Equal(t, http.StatusConflict, create().Status)
}

func TestASubmitThatCannotBeWaitedForIsAcceptedAllTheSame(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *gateway.Config) { c.KeyWaits = 1 })
	held := w.call("POST", "/v1/jobs", hello).job(t).ID
	w.take(1)
	done := make(chan answer, 1)
	go func() {
		a, _ := w.try(t.Context(), "GET", "/v1/jobs/"+string(held)+"?wait=50", "")
		done <- a
	}()
	require.Eventually(t, func() bool { return w.counts("voicemill_gateway_watchers 1") }, time.Minute, 10*time.Millisecond)
	a := w.call("POST", "/v1/jobs", hello, "Prefer", "wait=30")
	require.Equal(t, http.StatusAccepted, a.Status, "%s", a.Body)
	require.Empty(t, a.Header.Get("Preference-Applied"))
	require.Equal(t, a.job(t).ID, w.take(1)[0].ID)
	require.Equal(t, http.StatusOK, w.call("POST", "/v1/jobs/"+string(held)+"/cancel", "").Status)
	require.Equal(t, http.StatusOK, (<-done).Status)
}

func TestAnEarlyCancelIsHeardOfByOtherGateways(t *testing.T) {
	t.Parallel()
	w := newWorld(t, keepForLong)
	heard := w.listen()
	id := w.call("POST", "/v1/jobs", hello).job(t).ID
	w.call("POST", "/v1/jobs/"+string(id)+"/cancel", "")
	require.Equal(t, hinted{id, 0}, next(t, heard))

	// As another gateway does it.
	id = w.call("POST", "/v1/jobs", hello).job(t).ID
	path := "/v1/jobs/" + string(id)
	require.Equal(t, job.StateAccepted, w.call("GET", path, "").job(t).State)
	w.exec(`insert into cancellations (job_id, tenant_id) values ($1, $2)`, id, tenant)
	w.bus.Hint(id, 0)
	require.Eventually(t, func() bool { return w.call("GET", path, "").job(t).State == job.StateCancelled }, time.Minute, 10*time.Millisecond)
}
