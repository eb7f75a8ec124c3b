package gateway_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net"
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
	require.True(t, w.counts(`voicemill_gateway_sheds_total{reason="key"} 1`), "%s", w.metrics())
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
	require.True(t, w.counts(`voicemill_gateway_sheds_total{reason="tenant-connections"} 1`), "%s", w.metrics())
	require.NoError(t, third.Close())
	require.NoError(t, raw.Close())
	require.NoError(t, first.Close(websocket.StatusNormalClosure, ""))
	require.Eventually(t, func() bool {
		again, err := frames.Dial(t.Context(), frames.Config{Address: w.address(), Key: w.key})
		return err == nil && again.Close() == nil
	}, time.Minute, 10*time.Millisecond, "what is closed is given back")

	watch := w.events("/v1/jobs/" + string(id) + "/events")
	watch.event()
	a = w.call("GET", "/v1/jobs/"+string(id)+"/events", "")
	require.Equal(t, http.StatusTooManyRequests, a.Status)
	require.Contains(t, a.problem(t).Detail, "waiting requests of this API key")
	require.NoError(t, watch.resp.Body.Close())
	require.Eventually(t, func() bool {
		return w.call("GET", "/v1/jobs/"+string(id)+"?wait=1", "").Status == http.StatusOK
	}, time.Minute, 10*time.Millisecond, "a watch that has ended is given back")
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
	require.Eventually(t, func() bool { return w.counts("voicemill_gateway_watchers 1") }, time.Minute, 10*time.Millisecond)
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
		require.True(t, w.counts(`voicemill_gateway_sheds_total{reason="`+reason+`"} 1`), "%s", w.metrics())
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
	require.True(t, w.counts(`voicemill_gateway_sheds_total{reason="reads"} 1`), "%s", w.metrics())
}

func TestRequestsAreBoundedInBytesAsConfigured(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *gateway.Config) {
		c.Bounds.HeadBytes, c.Bounds.BodyBytes, c.Bounds.TextBytes, c.Bounds.BatchLines = 2048, 1500, 100, 2
	})
	text := func(n int) string { return `{"input":{"text":"` + strings.Repeat("x", n) + `"}}` }
	for name, test := range map[string]struct {
		answer answer
		status int
		slug   string
	}{
		"a head":          {w.call("GET", "/v1/voices", "", "X-Long", strings.Repeat("x", 2048)), 431, "head-too-large"},
		"a body":          {w.call("POST", "/v1/jobs", text(1500)), 413, "too-large"},
		"an unpacked one": {w.call("POST", "/v1/jobs", packed(t, text(1500)), "Content-Encoding", "gzip"), 413, "too-large"},
		"a text":          {w.call("POST", "/v1/jobs", text(101)), 413, "text-too-large"},
	} {
		require.Equal(t, test.status, test.answer.Status, name)
		require.Equal(t, "/problems/"+test.slug, test.answer.problem(t).Type, name)
	}
	lines := w.batch(text(100) + "\n" + text(1500) + "\n" + hello + "\n").lines(t)
	require.Len(t, lines, 3)
	require.Equal(t, http.StatusAccepted, lines[0].Status)
	require.Equal(t, "/problems/too-large", lines[1].Problem.Type)
	require.Equal(t, "/problems/too-many-lines", lines[2].Problem.Type)
}

func TestRequestsAreBoundedInTimeAsConfigured(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *gateway.Config) {
		c.MaxWait = time.Second
		c.Bounds.HeadTimeout, c.Bounds.BodyTimeout, c.Bounds.IdleTimeout, c.Bounds.AnswerTimeout = time.Second, time.Second, time.Second, 3*time.Second
	})
	for name, head := range map[string]string{
		"a head": "GET /v1/voices HTTP/1.1\r\nHost: h\r\n",
		"a body": "POST /v1/jobs HTTP/1.1\r\nHost: h\r\nContent-Type: application/json\r\nAuthorization: Bearer " + w.key + "\r\nContent-Length: 100\r\n\r\n{",
	} {
		r := w.say(head)
		resp, err := http.ReadResponse(r, nil)
		require.NoError(t, err, name)
		var p client.Problem
		require.NoError(t, json.NewDecoder(resp.Body).Decode(&p), name)
		require.NoError(t, resp.Body.Close())
		require.Equal(t, http.StatusRequestTimeout, resp.StatusCode, name)
		require.Equal(t, "/problems/request-timeout", p.Type, name)
	}
	r := w.say("GET /v1/voices HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer " + w.key + "\r\n\r\n")
	resp, err := http.ReadResponse(r, nil)
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, resp.StatusCode)
	_, err = io.Copy(io.Discard, resp.Body)
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	_, err = r.ReadByte()
	require.ErrorIs(t, err, io.EOF, "an idle connection ends")

	tx, err := w.db.Begin(t.Context())
	require.NoError(t, err)
	defer func() { _ = tx.Rollback(t.Context()) }()
	_, err = tx.Exec(t.Context(), "lock table jobs in access exclusive mode")
	require.NoError(t, err)
	a := w.call("GET", "/v1/jobs/"+string(w.mintedFor(tenant)), "")
	require.Equal(t, http.StatusServiceUnavailable, a.Status)
	require.Equal(t, "/problems/overloaded", a.problem(t).Type)
	require.True(t, w.counts("voicemill_gateway_requests_unanswered_total 1"), "%s", w.metrics())
}

// say sends text on a connection of its own and returns what the gateway says,
// for a minute at most.
func (w *world) say(text string) *bufio.Reader {
	w.t.Helper()
	var d net.Dialer
	c, err := d.DialContext(w.t.Context(), "tcp", w.address())
	require.NoError(w.t, err)
	w.t.Cleanup(func() { _ = c.Close() })
	require.NoError(w.t, c.SetDeadline(time.Now().Add(time.Minute)))
	_, err = io.WriteString(c, text)
	require.NoError(w.t, err)
	return bufio.NewReader(c)
}

func TestConnectionsAndTheirMemoryAreBoundedAsConfigured(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *gateway.Config) { c.Bounds.AcceptRate, c.Bounds.MaxBuffered = 5, 1 })
	began := time.Now()
	for range 15 { // five at once, the others with time
		require.Equal(t, http.StatusOK, w.call("GET", "/v1/voices", "").Status)
	}
	require.GreaterOrEqual(t, time.Since(began), 1900*time.Millisecond)
	r := w.say("POST /v1/jobs HTTP/1.1\r\nHost: h\r\nContent-Type: application/json\r\nAuthorization: Bearer " + w.key +
		"\r\nContent-Length: 300000\r\n\r\n" + strings.Repeat(" ", 150_000)) // every connection has 64 KiB
	resp, err := http.ReadResponse(r, nil)
	require.NoError(t, err)
	var p client.Problem
	require.NoError(t, json.NewDecoder(resp.Body).Decode(&p))
	require.NoError(t, resp.Body.Close())
	require.Equal(t, http.StatusServiceUnavailable, resp.StatusCode)
	require.Equal(t, "/problems/overloaded", p.Type)
	require.True(t, w.counts("voicemill_gateway_memory_shed_total 1"), "%s", w.metrics())
}

func TestBoundsThatMakeNoSenseAreRefused(t *testing.T) {
	t.Parallel()
	for want, change := range map[string]func(*gateway.Config){
		"accept-rate (-1)":     func(c *gateway.Config) { c.Bounds.AcceptRate = -1 },
		"max-buffered (0)":     func(c *gateway.Config) { c.Bounds.MaxBuffered = 0 },
		"head-bytes (65536)":   func(c *gateway.Config) { c.Bounds.HeadBytes = 1 << 16 },
		"body-bytes (1048577)": func(c *gateway.Config) { c.Bounds.BodyBytes = 1<<20 + 1 },
		"text-bytes (3000) must be positive and at most body-bytes (2000)": func(c *gateway.Config) { c.Bounds.BodyBytes, c.Bounds.TextBytes = 2000, 3000 },
		"batch-lines (0)":    func(c *gateway.Config) { c.Bounds.BatchLines = 0 },
		"idle-timeout (1ms)": func(c *gateway.Config) { c.Bounds.IdleTimeout = time.Millisecond },
		"max-wait (1m0s) must be positive and at most eleven twelfths of answer-timeout (1m0s)": func(c *gateway.Config) { c.Bounds.AnswerTimeout = time.Minute },
	} {
		cfg := gateway.DefaultConfig()
		change(&cfg)
		require.ErrorContains(t, cfg.Validate(), want)
	}
}

// unfinished begins a batch and leaves it open until the test ends.
func (w *world) unfinished(key string) (status int, again string) {
	w.t.Helper()
	r, body := io.Pipe()
	w.t.Cleanup(func() { _ = body.Close() })
	req, err := http.NewRequestWithContext(w.t.Context(), http.MethodPost, w.url+"/v1/jobs:batch", r)
	require.NoError(w.t, err)
	req.Header.Set("Authorization", "Bearer "+key)
	req.Header.Set("Content-Type", "application/x-ndjson")
	go func() { _, _ = io.WriteString(body, hello+"\n") }()
	resp, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(req) // the contract would read the body to its end
	require.NoError(w.t, err)
	w.t.Cleanup(func() { _ = resp.Body.Close() })
	return resp.StatusCode, resp.Header.Get("Retry-After")
}

func TestOneKeyDoesNotTakeEveryBody(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *gateway.Config) { c.Bounds.Streams = 6 })
	status, again := http.StatusOK, ""
	for n := 0; status == http.StatusOK && n < 7; n++ {
		status, again = w.unfinished(w.key)
	}
	require.Equal(t, http.StatusTooManyRequests, status)
	require.NotEmpty(t, again)
	require.True(t, w.counts("voicemill_gateway_body_streams 3"), "%s", w.metrics())
	require.True(t, w.counts(`voicemill_gateway_sheds_total{reason="key-streams"} 1`), "%s", w.metrics())
	second := w.newKey(tenant, gateway.Scopes()...)
	status, _ = w.unfinished(second)
	require.Equal(t, http.StatusOK, status)
	status, _ = w.unfinished(second)
	require.Equal(t, http.StatusTooManyRequests, status, "the tenant has two thirds")
	require.True(t, w.counts(`voicemill_gateway_sheds_total{reason="tenant-streams"} 1`), "%s", w.metrics())
	status, _ = w.unfinished(w.other)
	require.Equal(t, http.StatusOK, status)
}
