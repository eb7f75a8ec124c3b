package callback

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	webhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/api/jobdoc"
	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/platform/testkit"
	"github.com/voicemill/voicemill/scheduler/internal/store"
	"github.com/voicemill/voicemill/scheduler/internal/storetest"
)

func TestMain(m *testing.M) { testkit.Main(m) }

// call is one request that a receiver got.
type call struct {
	at     time.Time
	header http.Header
	body   string
	event  Event
}

// receiver answers as a script says, one step a call; the last step stays.
type receiver struct {
	*httptest.Server
	calls chan call

	mu     sync.Mutex
	script []http.HandlerFunc
}

func newReceiver(t *testing.T, script ...http.HandlerFunc) *receiver {
	t.Helper()
	r := &receiver{calls: make(chan call, 1000), script: script}
	r.Server = httptest.NewServer(r)
	t.Cleanup(r.Close)
	return r
}

func (r *receiver) ServeHTTP(w http.ResponseWriter, q *http.Request) {
	at := time.Now()
	raw, err := io.ReadAll(q.Body)
	if err != nil {
		return
	}
	c := call{at: at, header: q.Header, body: string(raw)}
	_ = json.Unmarshal(raw, &c.event) // judged by the test
	r.calls <- c
	r.mu.Lock()
	var step http.HandlerFunc
	if len(r.script) > 0 {
		step = r.script[0]
		if len(r.script) > 1 {
			r.script = r.script[1:]
		}
	}
	r.mu.Unlock()
	if step != nil {
		step(w, q)
	}
}

func (r *receiver) next(t *testing.T) call {
	t.Helper()
	select {
	case c := <-r.calls:
		return c
	case <-time.After(time.Minute):
		t.Fatal("no callback came")
		return call{}
	}
}

func status(code int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) }
}

func cut(w http.ResponseWriter, _ *http.Request) {
	conn, _, err := w.(http.Hijacker).Hijack()
	if err == nil {
		_ = conn.Close()
	}
}

// hang answers nothing until the client gives up.
func hang(_ http.ResponseWriter, q *http.Request) { <-q.Context().Done() }

// bench is a Dispatcher on a real database, with a schedule that tests can wait for.
type bench struct {
	*storetest.Base
	d        *Dispatcher
	outcomes chan string
	hints    chan store.Version
}

func newBench(t *testing.T, change func(*Config)) *bench {
	t.Helper()
	b := &bench{Base: storetest.New(t), outcomes: make(chan string, 1000), hints: make(chan store.Version, 1000)}
	cfg := DefaultConfig()
	cfg.AllowPrivate, cfg.Tick = true, 20*time.Millisecond
	if change != nil {
		change(&cfg)
	}
	require.NoError(t, cfg.Validate())
	b.d = New(cfg, Deps{
		Log: testkit.Log(t), Observe: func(outcome, _ string) { b.outcomes <- outcome },
		Changed: func(id job.ID, version int64) { b.hints <- store.Version{ID: id, Version: version} },
	})
	b.d.waits = []time.Duration{50 * time.Millisecond, 100 * time.Millisecond, 100 * time.Millisecond}
	return b
}

func (b *bench) run(t *testing.T) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- b.d.Run(ctx, b.Store) }()
	var once sync.Once
	stop = func() {
		once.Do(func() {
			cancel()
			require.NoError(t, <-done)
		})
	}
	t.Cleanup(stop)
	return stop
}

// notify makes a job that failed with a callback due to url.
func (b *bench) notify(t *testing.T, url string, events ...string) job.ID {
	t.Helper()
	return b.notifyOf(t, storetest.Tenant, url, events...)
}

func (b *bench) notifyOf(t *testing.T, tenant job.Tenant, url string, events ...string) job.ID {
	t.Helper()
	id := b.Queue(t, tenant, job.Spec{Labels: map[string]string{"book": "pg1"}}, 1)
	for i, event := range events {
		b.Exec(t, `with j as (select id from jobs where id = $2 for no key update)
insert into deliveries (id, tenant_id, job_id, event, url, payload, created_at) select $1, $5, id, $3, $4, '', clock_timestamp() from j`, fmt.Sprintf("dlv_%s_%d", id, i), id, event, url, tenant)
	}
	b.d.Hint()
	return id
}

func (b *bench) outcome(t *testing.T) string {
	t.Helper()
	select {
	case o := <-b.outcomes:
		return o
	case <-time.After(time.Minute):
		t.Fatal("no attempt was made")
		return ""
	}
}

func (b *bench) delivery(t *testing.T, id job.ID) (state string, attempts, lastStatus int, lastError string) {
	t.Helper()
	b.One(t, `select state, attempts, coalesce(last_status, 0), coalesce(last_error, '') from deliveries where job_id = $1`, []any{id},
		&state, &attempts, &lastStatus, &lastError)
	return state, attempts, lastStatus, lastError
}

func TestACallbackIsSignedAndCarriesTheJob(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil)
	r := newReceiver(t)
	b.run(t)
	id := b.notify(t, r.URL+"/hook?a=b", job.EventFailed)
	c := r.next(t)
	require.Equal(t, Delivered, b.outcome(t))

	var secret string
	b.One(t, `select callback_secret from tenants where id = 'default'`, nil, &secret)
	hook, err := webhooks.NewWebhook(secret)
	require.NoError(t, err)
	require.NoError(t, hook.Verify([]byte(c.body), c.header))
	require.Error(t, hook.Verify([]byte(c.body+" "), c.header))
	require.Equal(t, fmt.Sprintf("dlv_%s_0", id), c.header.Get("webhook-id"))
	require.Equal(t, "application/json", c.header.Get("Content-Type"))
	require.Equal(t, job.EventFailed, c.event.Type)
	require.Equal(t, id, c.event.Data.ID)
	require.Equal(t, map[string]string{"book": "pg1"}, c.event.Data.Labels)
	require.NotContains(t, c.body, "Segment 1 of")
	state, attempts, lastStatus, lastError := b.delivery(t, id)
	require.Equal(t, []any{"delivered", 1, 200, ""}, []any{state, attempts, lastStatus, lastError})
	require.Equal(t, 1, b.Count(t, `select count(*) from delivery_attempts where status = 200 and duration_ms >= 0`))
}

// A receiver that asks for the job must not be told of an older one.
func TestBeforeAReceiverHearsOfAVersionTheGatewaysDo(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil)
	known := make(chan int, 1)
	r := newReceiver(t, func(http.ResponseWriter, *http.Request) { known <- len(b.hints) })
	b.run(t)
	id := b.notify(t, r.URL, job.EventFailed)
	require.Equal(t, 1, <-known)
	require.Equal(t, store.Version{ID: id, Version: r.next(t).event.Data.Version}, <-b.hints)
}

func TestEveryFailureIsTriedAgainWithTheSameIdAndBytes(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		step    http.HandlerFunc
		status  int
		says    string
		timeout time.Duration // zero: the default
	}{
		"an error of the receiver": {status(500), 500, "answered 500", 0},
		"a refusal":                {status(403), 403, "answered 403", 0},
		"a connection that is cut": {cut, 0, "closed the connection", 0},
		"a receiver that hangs":    {hang, 0, "in time", 2 * time.Second},
		"a redirect":               {http.RedirectHandler("http://127.0.0.1:1/", http.StatusFound).ServeHTTP, 302, "not followed", 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, func(cfg *Config) { cfg.Timeout = cmp.Or(c.timeout, cfg.Timeout) })
			r := newReceiver(t, c.step, status(204))
			b.run(t)
			id := b.notify(t, r.URL, job.EventFailed)
			first := r.next(t)
			require.Equal(t, Retrying, b.outcome(t))
			b.Exec(t, `update jobs set title = 'Changed meanwhile', version = version + 1 where id = $1`, id)
			second := r.next(t)
			require.Equal(t, Delivered, b.outcome(t))
			require.Equal(t, first.header.Get("webhook-id"), second.header.Get("webhook-id"))
			require.Equal(t, first.body, second.body)
			var got int
			var says string
			b.One(t, `select coalesce(status, 0), error from delivery_attempts where n = 1`, nil, &got, &says)
			require.Equal(t, c.status, got)
			require.Contains(t, says, c.says)
			require.NotContains(t, says, "127.0.0.1")
			state, attempts, lastStatus, _ := b.delivery(t, id)
			require.Equal(t, []any{"delivered", 2, 204}, []any{state, attempts, lastStatus})
		})
	}
}

func TestRetryAfterIsHonoured(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil)
	r := newReceiver(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", "1")
		w.WriteHeader(http.StatusTooManyRequests)
	}, status(200))
	b.run(t)
	b.notify(t, r.URL, job.EventFailed)
	first := r.next(t)
	require.GreaterOrEqual(t, r.next(t).at.Sub(first.at), 900*time.Millisecond)
}

func TestGoneAndTheEndOfTheScheduleAreFailures(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		code, attempts int
	}{
		"410 ends it at once":       {http.StatusGone, 1},
		"the schedule ends at last": {http.StatusInternalServerError, 4},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, nil)
			r := newReceiver(t, status(c.code))
			b.run(t)
			id := b.notify(t, r.URL, job.EventFailed)
			for range c.attempts - 1 {
				require.Equal(t, Retrying, b.outcome(t))
			}
			require.Equal(t, Failed, b.outcome(t))
			state, attempts, lastStatus, _ := b.delivery(t, id)
			require.Equal(t, []any{"failed", c.attempts, c.code}, []any{state, attempts, lastStatus})
			require.Len(t, r.calls, c.attempts)
		})
	}
}

func TestAFailedAttemptLeavesALineAndItsCause(t *testing.T) {
	t.Parallel()
	closed := newReceiver(t)
	closed.Close()
	for cause, c := range map[string]struct {
		url  string
		step http.HandlerFunc
	}{
		"status_5xx": {step: status(http.StatusBadGateway)}, "status_4xx": {step: status(http.StatusGone)}, "status_3xx": {step: status(http.StatusFound)},
		"closed": {step: cut}, "away": {url: closed.URL}, "name": {url: "http://no-such-name.invalid"},
	} {
		t.Run(cause, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, nil)
			var said bytes.Buffer
			causes := make(chan string, 10)
			b.d.deps.Log = slog.New(slog.NewJSONHandler(&said, nil))
			b.d.deps.Observe = func(_, cause string) { causes <- cause }
			b.d.waits = []time.Duration{time.Hour}
			if c.url == "" {
				c.url = newReceiver(t, c.step).URL
			}
			stop := b.run(t)
			id := b.notify(t, c.url+"/hooks/secret-path?token=secret", job.EventFailed)
			require.Equal(t, cause, <-causes)
			require.Contains(t, Causes(), cause)
			stop()
			var line struct{ Level, Msg, Tenant, Delivery, Job_ID, Host, Cause, Reason string }
			require.NoError(t, json.Unmarshal(said.Bytes(), &line), said.String())
			require.Equal(t, []string{"WARN", "callback not taken", string(id), cause}, []string{line.Level, line.Msg, line.Job_ID, line.Cause})
			require.NotEmpty(t, line.Delivery)
			require.Equal(t, hostOf(c.url), line.Host)
			require.NotEmpty(t, line.Tenant)
			require.NotEmpty(t, line.Reason)
			require.NotContains(t, said.String(), "secret")
		})
	}
}

func TestPrivateAddressesAreRefusedUnlessAllowed(t *testing.T) {
	t.Parallel()
	r := newReceiver(t)
	at, err := url.Parse(r.URL)
	require.NoError(t, err)
	port, err := strconv.ParseUint(at.Port(), 10, 16)
	require.NoError(t, err)
	loopback := []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	for name, c := range map[string]struct {
		change func(*Config)
		url    string
		want   string
	}{
		"loopback":                       {func(*Config) {}, r.URL, Retrying},
		"a name of loopback":             {func(c *Config) { c.AllowPorts = []uint16{uint16(port)} }, "http://localhost:" + at.Port(), Retrying},
		"metadata of a cloud":            {func(*Config) {}, "http://169.254.169.254/", Retrying},
		"IPv4 inside IPv6":               {func(*Config) {}, "http://[::ffff:127.0.0.1]/", Retrying},
		"an allowed network, other port": {func(c *Config) { c.AllowPrefixes = loopback }, r.URL, Retrying},
		"an allowed network and port":    {func(c *Config) { c.AllowPrefixes, c.AllowPorts = loopback, []uint16{uint16(port)} }, r.URL, Delivered},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, func(cfg *Config) { cfg.AllowPrivate = false; c.change(cfg) })
			b.d.waits = []time.Duration{time.Hour}
			b.run(t)
			id := b.notify(t, c.url, job.EventFailed)
			require.Equal(t, c.want, b.outcome(t))
			if _, _, _, says := b.delivery(t, id); c.want == Retrying {
				require.Contains(t, says, "not allowed")
			}
		})
	}
}

func TestEventsOfAJobGoOutInOrder(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil)
	r := newReceiver(t)
	events := []string{job.EventStarted, job.EventChapterReady, job.EventSucceeded}
	b.notify(t, r.URL, events...)
	b.run(t)
	for _, want := range events {
		require.Equal(t, want, r.next(t).event.Type)
	}
}

// An earlier event that is not taken holds up those behind it, for a minute at most.
func TestAFailingEventHoldsTheNextForAMinute(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil)
	b.d.waits = []time.Duration{300 * time.Millisecond, time.Hour}
	r := newReceiver(t, status(500), status(200))
	b.run(t)
	b.notify(t, r.URL, job.EventStarted, job.EventSucceeded)
	for i, want := range []string{job.EventStarted, job.EventStarted, job.EventSucceeded} {
		c := r.next(t)
		require.Equal(t, want, c.event.Type)
		require.Equal(t, max(1, i), c.event.Sequence)
	}
	for _, want := range []string{Retrying, Delivered, Delivered} { // nobody reads the waits any more
		require.Equal(t, want, b.outcome(t))
	}

	b.d.waits[0] = time.Hour
	r = newReceiver(t, status(500), status(200))
	b.notify(t, r.URL, job.EventStarted, job.EventSucceeded)
	require.Equal(t, job.EventStarted, r.next(t).event.Type)
	require.Eventually(t, func() bool {
		return b.Count(t, `select count(*) from deliveries where attempts = 1 and state = 'pending'`) == 1
	}, time.Minute, time.Millisecond)
	require.Empty(t, r.calls)
	due, err := b.Store.ClaimDeliveries(t.Context(), 10, b.d.cfg.Lease, nil, nil)
	require.NoError(t, err)
	require.Empty(t, due)
	require.Equal(t, 1, b.Count(t, `select count(*) from deliveries where held and next_attempt_at <= now() + interval '1 minute'`))
	b.Exec(t, `update deliveries set next_attempt_at = next_attempt_at - interval '1 minute' where held`)
	b.d.Hint()
	require.Equal(t, job.EventSucceeded, r.next(t).event.Type)
}

// Dead hosts of one tenant hold one place each, and those of one tenant half of all.
func TestDeadHostsOfOneTenantLeaveRoomForOthers(t *testing.T) {
	t.Parallel()
	b := newBench(t, func(c *Config) { c.Concurrency, c.PerTenant, c.PerHost = 8, 4, 4 })
	b.AddTenant(t, "other")
	b.Exec(t, `update tenants set callback_secret = (select callback_secret from tenants where id = $1) where id = 'other'`, storetest.Tenant)
	for range 6 {
		dead := newReceiver(t, hang)
		for range 5 {
			b.notify(t, dead.URL, job.EventFailed)
		}
	}
	b.run(t)
	require.Eventually(t, func() bool {
		return b.Count(t, `select count(*) from deliveries where next_attempt_at > now() + interval '30 s'`) == 4
	}, time.Minute, time.Millisecond)
	quick := newReceiver(t)
	for range 20 {
		b.notifyOf(t, "other", quick.URL, job.EventFailed)
		quick.next(t)
	}
}

func TestOneSlowHostDoesNotHoldTheOthers(t *testing.T) {
	t.Parallel()
	b := newBench(t, func(c *Config) { c.Concurrency, c.PerHost = 6, 2 })
	var mu sync.Mutex
	var now, most int
	release := make(chan struct{})
	slow := newReceiver(t, status(200), func(http.ResponseWriter, *http.Request) {
		mu.Lock()
		now++
		most = max(most, now)
		mu.Unlock()
		<-release
		mu.Lock()
		now--
		mu.Unlock()
	})
	quick := newReceiver(t)
	b.run(t)
	b.notify(t, slow.URL, job.EventFailed)
	require.Equal(t, Delivered, b.outcome(t)) // no stranger any more
	slow.next(t)
	for range 12 {
		b.notify(t, slow.URL, job.EventFailed)
	}
	slow.next(t)
	slow.next(t)
	for range 5 {
		b.notify(t, quick.URL, job.EventFailed)
		quick.next(t)
	}
	close(release)
	for range 17 {
		require.Equal(t, Delivered, b.outcome(t))
	}
	mu.Lock()
	defer mu.Unlock()
	require.Equal(t, 2, most)
}

// A sender that died after the claim leaves a lease; when it is over, the same
// delivery goes out with the same id.
func TestADeadSendersDeliveryIsSentAgain(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil)
	r := newReceiver(t)
	id := b.notify(t, r.URL, job.EventFailed)
	start := time.Now()
	claimed, err := b.Store.ClaimDeliveries(t.Context(), 10, 500*time.Millisecond, nil, nil)
	require.NoError(t, err)
	require.Len(t, claimed, 1)
	b.run(t)
	require.Equal(t, fmt.Sprintf("dlv_%s_0", id), r.next(t).header.Get("webhook-id"))
	require.GreaterOrEqual(t, time.Since(start), 300*time.Millisecond)
}

func TestStopWaitsForWhatIsOnItsWay(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil)
	arrived, answer := make(chan struct{}), make(chan struct{})
	r := newReceiver(t, func(http.ResponseWriter, *http.Request) { close(arrived); <-answer })
	stop := b.run(t)
	id := b.notify(t, r.URL, job.EventFailed)
	<-arrived
	stopped := make(chan struct{})
	go func() { stop(); close(stopped) }()
	select {
	case <-stopped:
		t.Fatal("stopped with a callback on its way")
	case <-time.After(100 * time.Millisecond):
	}
	close(answer)
	<-stopped
	state, _, _, _ := b.delivery(t, id)
	require.Equal(t, "delivered", state)
}

func TestAReceiverThatAnswersForEverIsNotReadForEver(t *testing.T) {
	t.Parallel()
	b := newBench(t, func(c *Config) { c.Timeout = 2 * time.Second })
	r := newReceiver(t, func(w http.ResponseWriter, q *http.Request) {
		for q.Context().Err() == nil {
			if _, err := w.Write(make([]byte, 1<<16)); err != nil {
				return
			}
		}
	})
	b.run(t)
	b.notify(t, r.URL, job.EventFailed)
	require.Equal(t, Delivered, b.outcome(t))
}

func TestABodyStaysUnderItsLimit(t *testing.T) {
	t.Parallel()
	doc := jobdoc.Document{ID: "job_1", State: job.StateRunning, Labels: map[string]string{}}
	for i := range 5000 {
		doc.Chapters = append(doc.Chapters, jobdoc.Chapter{Ordinal: i + 1, Title: strings.Repeat("long title ", 10), State: job.ChapterReady})
	}
	text, err := body(store.Delivery{ID: "dlv_1", Event: job.EventChapterReady, Ordinal: 4321, At: time.Now()}, doc)
	require.NoError(t, err)
	require.Less(t, len(text), 20_000)
	var e Event
	require.NoError(t, json.Unmarshal([]byte(text), &e))
	require.NotNil(t, e.Data.Chapter)
	require.Equal(t, 4321, e.Data.Chapter.Ordinal)
	require.NotEmpty(t, e.Data.Chapters)
}

func TestTheSignatureInTheDocumentationIsOurs(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../../../docs/callbacks.md")
	require.NoError(t, err)
	hook, err := webhooks.NewWebhook("whsec_dm9pY2VtaWxsLWV4YW1wbGUtc2VjcmV0")
	require.NoError(t, err)
	signature, err := hook.Sign("dlv_1", time.Unix(1_700_000_000, 0), []byte(`{"type":"job.succeeded"}`))
	require.NoError(t, err)
	require.Contains(t, string(page), signature)
}
