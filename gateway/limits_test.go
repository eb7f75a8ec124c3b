package gateway_test

import (
	"bytes"
	"context"
	"net/http"
	"os"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/api/client"
	"github.com/voicemill/voicemill/api/client/frames"
	"github.com/voicemill/voicemill/gateway"
	"github.com/voicemill/voicemill/gateway/internal/limit"
	"github.com/voicemill/voicemill/job"
)

func TestEveryAnswerSaysWhatIsLeftAndTooManyRequestsAreTurnedAway(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *gateway.Config) {
		c.KeyRate = limit.Rate{Count: 1, Per: time.Hour, Burst: 3}
		c.TenantRate = limit.Rate{}
	})
	for n, path := range []string{"/v1/voices", "/v1/jobs/job_x", "/v1/keys"} {
		a := w.call("GET", path, "")
		require.NotEqual(t, http.StatusTooManyRequests, a.Status)
		require.Contains(t, a.Header.Get("RateLimit"), `"key";r=`+strconv.Itoa(2-n)+`;t=`)
		require.Equal(t, `"key";q=3;w=10800`, a.Header.Get("RateLimit-Policy"))
	}
	a := w.call("GET", "/v1/voices", "")
	require.Equal(t, http.StatusTooManyRequests, a.Status)
	require.Equal(t, "/problems/too-many-requests", a.problem(t).Type)
	wait, err := strconv.Atoi(a.Header.Get("Retry-After"))
	require.NoError(t, err)
	require.InDelta(t, 3600, wait, 120)
	require.Contains(t, a.Header.Get("RateLimit"), `"key";r=0;t=`)
	require.Equal(t, http.StatusOK, w.call("GET", "/v1/voices", "", "Authorization", "Bearer "+w.other).Status)
	require.Contains(t, w.metrics(), `voicemill_gateway_sheds_total{reason="key"} 1`)
}

func TestAWaitOfLessThanASecondIsToldByEveryCarrier(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *gateway.Config) {
		c.KeyRate = limit.Rate{Count: 1, Per: 900 * time.Millisecond, Burst: 1}
		c.TenantRate = limit.Rate{}
	})
	id := w.mintedFor(tenant)
	refused := func(call func() error) { // until one comes soon enough after the one before
		t.Helper()
		var err error
		for err == nil {
			err = call()
		}
		var p *client.Problem
		require.ErrorAs(t, err, &p)
		require.Equal(t, http.StatusTooManyRequests, p.Status)
		require.Equal(t, time.Second, p.RetryAfter)
	}
	key := w.newKey(tenant, gateway.Scopes()...)
	c := w.frames(key)
	refused(func() error { _, err := c.Job(t.Context(), id); return err })
	refused(func() error { _, err := w.client(key).Job(t.Context(), id); return err })
	refused(func() error {
		c, err := frames.Dial(t.Context(), frames.Config{Address: w.address(), Key: key})
		if err == nil {
			err = c.Close()
		}
		return err
	})
	s := w.ws("/v1/connect", nil)
	require.NotNil(t, s.hear().Hello)
	for {
		s.tell(`{"stream":1,"get":{"id":"` + string(id) + `"}}`)
		if m := s.hear(); m.Problem != nil {
			require.Equal(t, uint32(1), m.Problem.RetryAfterSeconds)
			return
		}
	}
}

func TestConnectionsAndWatchesOfAKeyAndATenantAreLimited(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *gateway.Config) { c.KeyConnections, c.TenantConnections, c.KeyWaits = 2, 3, 1 })
	second := w.newKey(tenant, gateway.Scopes()...)
	id := w.submitted(hello)
	first := w.ws("/v1/connect", nil)
	raw, err := frames.Dial(t.Context(), frames.Config{Address: w.address(), Key: w.key})
	require.NoError(t, err)
	upgrade := []string{"Connection", "Upgrade", "Upgrade", "websocket", "Sec-WebSocket-Version", "13", "Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="}
	a := w.call("GET", "/v1/connect", "", upgrade...)
	require.Equal(t, http.StatusTooManyRequests, a.Status)
	require.Contains(t, a.problem(t).Detail, "connections of this API key")
	require.NotEmpty(t, a.Header.Get("Retry-After"))

	third, err := frames.Dial(t.Context(), frames.Config{Address: w.address(), Key: second})
	require.NoError(t, err)
	_, err = frames.Dial(t.Context(), frames.Config{Address: w.address(), Key: second})
	require.Equal(t, job.Overloaded, kindOf(t, err), "the tenant has three")
	require.Contains(t, w.metrics(), `voicemill_gateway_sheds_total{reason="tenant-connections"} 1`)
	require.NoError(t, third.Close())
	require.NoError(t, raw.Close())
	require.NoError(t, first.Close(websocket.StatusNormalClosure, ""))
	require.Eventually(t, func() bool {
		again, err := frames.Dial(t.Context(), frames.Config{Address: w.address(), Key: w.key})
		return err == nil && again.Close() == nil
	}, 20*time.Second, 10*time.Millisecond, "what is closed is given back")

	watch := w.events("/v1/jobs/" + string(id) + "/events")
	watch.event()
	a = w.call("GET", "/v1/jobs/"+string(id)+"/events", "")
	require.Equal(t, http.StatusTooManyRequests, a.Status)
	require.Contains(t, a.problem(t).Detail, "waiting requests of this API key")
	require.NoError(t, watch.resp.Body.Close())
	require.Eventually(t, func() bool {
		return w.call("GET", "/v1/jobs/"+string(id)+"?wait=1", "").Status == http.StatusOK
	}, 20*time.Second, 10*time.Millisecond, "a watch that has ended is given back")
}

func TestTooMuchTextAndTooManyWaitersAreTurnedAway(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *gateway.Config) {
		c.TenantText = limit.Rate{Count: 1, Per: time.Hour, Burst: 20}
		c.KeyWaits = 1
	})
	a := w.call("POST", "/v1/jobs", `{"input":{"segments":[{"text":"Fünfzehn Zeichen"}]}}`)
	require.Equal(t, http.StatusAccepted, a.Status, "%s", a.Body)
	id := a.job(t).ID
	a = w.call("POST", "/v1/jobs", `{"input":{"text":"Five."}}`)
	require.Equal(t, http.StatusTooManyRequests, a.Status)
	require.Contains(t, a.problem(t).Detail, "characters of this tenant")

	done := make(chan answer, 1)
	go func() {
		a, _ := w.try(t.Context(), "GET", "/v1/jobs/"+string(id)+"?wait=50", "")
		done <- a
	}()
	require.Eventually(t, func() bool { return strings.Contains(w.metrics(), "voicemill_gateway_watchers 1") }, 20*time.Second, 10*time.Millisecond)
	a = w.call("GET", "/v1/jobs/"+string(id)+"?wait=1", "")
	require.Equal(t, http.StatusTooManyRequests, a.Status)
	require.Contains(t, a.problem(t).Detail, "waiting requests of this API key")
	require.Equal(t, http.StatusOK, w.call("POST", "/v1/jobs/"+string(id)+"/cancel", "").Status)
	require.Equal(t, http.StatusOK, (<-done).Status)
	require.Equal(t, http.StatusOK, w.call("GET", "/v1/jobs/"+string(id)+"?wait=1", "").Status, "the wait was given back")
}

func TestEveryReasonForTurningAwayIsDocumented(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	doc, err := os.ReadFile("../docs/gateway.md")
	require.NoError(t, err)
	_, doc, found := bytes.Cut(doc, []byte("| `reason` | |\n|---|---|\n"))
	require.True(t, found)
	doc, _, _ = bytes.Cut(doc, []byte("\n\n"))
	var documented, served []string
	for line := range strings.Lines(string(doc)) {
		for _, name := range regexp.MustCompile("`([a-z-]+)`").FindAllStringSubmatch(strings.Split(line, "|")[1], -1) {
			documented = append(documented, name[1])
		}
	}
	for _, m := range regexp.MustCompile(`sheds_total\{reason="([a-z-]+)"\}`).FindAllStringSubmatch(w.metrics(), -1) {
		served = append(served, m[1])
	}
	require.ElementsMatch(t, served, documented)
}

func TestWatchesThatAreTooManyAreCountedByReason(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *gateway.Config) { c.Watches, c.KeyWatches = 2, 1 })
	path := "/v1/jobs/" + string(w.submitted(hello)) + "/events"
	first := w.events(path)
	require.Equal(t, http.StatusTooManyRequests, w.call("GET", path, "").Status)
	second := w.events(path, "Authorization", "Bearer "+w.newKey(tenant, gateway.Scopes()...))
	require.Equal(t, http.StatusServiceUnavailable, w.call("GET", path, "", "Authorization", "Bearer "+w.newKey(tenant, gateway.Scopes()...)).Status)
	for _, reason := range []string{"key-watches", "watches"} {
		require.Contains(t, w.metrics(), `voicemill_gateway_sheds_total{reason="`+reason+`"} 1`)
	}
	require.NoError(t, first.resp.Body.Close())
	require.NoError(t, second.resp.Body.Close())
}

func TestAFullQueueOfReadsIsCountedByReason(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *gateway.Config) { c.Readers, c.ReadQueue = 1, 1 })
	w.call("GET", "/v1/jobs", "") // its key is known
	tx, err := w.db.Begin(t.Context())
	require.NoError(t, err)
	defer func() { _ = tx.Rollback(context.Background()) }()
	_, err = tx.Exec(t.Context(), "lock table jobs in access exclusive mode")
	require.NoError(t, err)
	ctx, leave := context.WithCancel(t.Context())
	var asked sync.WaitGroup
	for range 2 { // one that reads and one that waits for it
		asked.Go(func() { _, _ = w.try(ctx, "GET", "/v1/jobs", "") })
	}
	defer asked.Wait()
	defer leave()
	w.gauge("reads_waiting", "1")
	require.Equal(t, http.StatusServiceUnavailable, w.call("GET", "/v1/jobs", "").Status)
	require.Contains(t, w.metrics(), `voicemill_gateway_sheds_total{reason="reads"} 1`)
}
