package restart_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptrace"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/e2e/internal/stage"
	"github.com/voicemill/voicemill/job"
)

const (
	beat        = 10 * time.Millisecond  // how often the load looks at the clock
	again       = 20 * time.Millisecond  // between two attempts to connect
	spread      = 400 * time.Millisecond // in which those who waited for that come back
	mostAtOnce  = 4000                   // requests under way; the rate waits for them
	recent      = 64                     // accepted jobs that are asked about
	waitSeconds = 2                      // of a long-poll
	keepPerHost = 128
)

// Of every so many requests, one is a submit and one a long-poll; the rest reads
// a status. Every fourth comes on a connection of its own.
const (
	submitEvery = 25
	pollEvery   = 10
	freshEvery  = 4
)

// load is clients that go on until stop is called: requests at a rate that does
// not follow the answers, and watchers.
type load struct {
	url, key string
	address  string
	secure   *tls.Config // nil speaks no TLS
	patient  bool        // a request that fails is sent again
	kept     *http.Client
	fresh    *http.Client

	ctx      context.Context //nolint:containedctx // the life of the clients
	cancel   context.CancelFunc
	stopping chan struct{} // closed when nothing new is begun
	clients  sync.WaitGroup
	slots    chan struct{}
	started  time.Time
	took     time.Duration
	drained  time.Duration // between SIGTERM and the end of the process, together
	away     time.Duration // from then until the next one served

	sent, answered, repeated, redialed, events, resumed, watched atomic.Int64

	mu       sync.Mutex
	back     chan struct{}   // guarded by mu: closed when somebody listens again; nil unless asked for
	failures []string        // guarded by mu
	severed  []string        // guarded by mu: connections that were refused or reset
	accepted []job.ID        // guarded by mu
	times    []time.Duration // guarded by mu: of answers that nothing holds back
}

// start runs clients that send n.rate requests a second, and watchers on the
// three carriers, over TLS if secure says how.
func start(t *testing.T, s *stage.Stage, n scale, patient bool, secure *tls.Config) *load {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), testLimit)
	t.Cleanup(cancel)
	l := &load{
		url: s.URL, key: s.Key, address: strings.TrimPrefix(s.URL, "http://"), secure: secure, patient: patient, ctx: ctx, cancel: cancel,
		stopping: make(chan struct{}), slots: make(chan struct{}, mostAtOnce), started: time.Now(),
	}
	if secure != nil {
		l.url = "https://" + l.address
	}
	keeping := &http.Transport{MaxIdleConnsPerHost: keepPerHost, IdleConnTimeout: time.Minute, DialContext: l.dial, TLSClientConfig: secure}
	t.Cleanup(keeping.CloseIdleConnections)
	once := &http.Transport{DisableKeepAlives: true, DialContext: l.dial, TLSClientConfig: secure}
	l.kept, l.fresh = &http.Client{Transport: keeping, Timeout: time.Minute}, &http.Client{Transport: once, Timeout: time.Minute}
	l.submit("first")
	require.NotEmpty(t, l.accepted, "%v", l.failures)
	for i := range n.watchers {
		w := watcher{l: l}
		l.clients.Go(func() { w.run([]watch{w.webSocket, w.serverSent, w.frames}[i%3]) })
	}
	l.clients.Go(func() { l.generate(n.rate) })
	return l
}

// generate begins requests at a rate until the load stops.
func (l *load) generate(rate int) {
	tick := time.NewTicker(beat)
	defer tick.Stop()
	for {
		select {
		case <-l.stopping:
			return
		case <-l.ctx.Done():
			return
		case <-tick.C:
		}
		for due := int64(time.Since(l.started).Seconds() * float64(rate)); l.sent.Load() < due; {
			select {
			case l.slots <- struct{}{}:
			case <-l.stopping:
				return
			}
			n := l.sent.Add(1)
			l.clients.Go(func() {
				defer func() { <-l.slots }()
				l.request(int(n))
			})
		}
	}
}

// request is the n-th one of the mix.
func (l *load) request(n int) {
	c := l.kept
	if n%freshEvery == 0 {
		c = l.fresh
	}
	switch {
	case n%submitEvery == 0:
		l.submit(fmt.Sprintf("%p-%d", l, n))
	case n%pollEvery == 1:
		l.do(c, http.MethodGet, fmt.Sprintf("/v1/jobs/%s?wait=%d", l.recent(n), waitSeconds), "", "")
	default:
		from := time.Now()
		if _, ok := l.do(c, http.MethodGet, "/v1/jobs/"+string(l.recent(n)), "", ""); ok {
			l.mu.Lock()
			l.times = append(l.times, time.Since(from))
			l.mu.Unlock()
		}
	}
}

// recent returns one of the jobs that were accepted last.
func (l *load) recent(n int) job.ID {
	l.mu.Lock()
	defer l.mu.Unlock()
	last := l.accepted[max(0, len(l.accepted)-recent):]
	return last[n%len(last)]
}

func (l *load) newest() job.ID {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.accepted[len(l.accepted)-1]
}

func (l *load) submit(key string) {
	body := `{"input":{"text":"A line that is spoken once."},"language":"en"}`
	got, ok := l.do(l.kept, http.MethodPost, "/v1/jobs", body, key)
	if !ok {
		return
	}
	var doc struct {
		ID job.ID `json:"id"`
	}
	if err := json.Unmarshal(got, &doc); err != nil || doc.ID == "" {
		l.fail("no job in %s", got)
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.accepted = append(l.accepted, doc.ID)
}

// do sends one request, until it is answered if the load is patient.
func (l *load) do(c *http.Client, method, path, body, key string) ([]byte, bool) {
	for {
		got, status, err := l.once(c, method, path, body, key)
		later := err != nil || status == http.StatusServiceUnavailable
		switch {
		case l.ctx.Err() != nil:
			return nil, false
		case err == nil && status < http.StatusBadRequest:
			l.answered.Add(1)
			return got, true
		case !l.patient || !later:
			l.fail("%s %s: answer %d %s, %v", method, path, status, got, err)
			return nil, false
		}
		l.repeated.Add(1)
		if !l.pause() {
			return nil, false
		}
	}
}

// pause waits before another attempt and reports whether the load goes on. While
// nobody listens one client tries to connect and the others wait for it.
func (l *load) pause() bool {
	l.mu.Lock()
	back := l.back
	if back == nil {
		back = make(chan struct{})
		l.back = back
		l.clients.Go(func() { l.knock(back) })
	}
	l.mu.Unlock()
	select {
	case <-l.ctx.Done():
		return false
	case <-back:
	}
	select {
	case <-l.ctx.Done():
		return false
	case <-time.After(rand.N(spread)): //nolint:gosec // so that not all come at once
		return true
	}
}

// knock closes back when somebody listens.
func (l *load) knock(back chan struct{}) {
	defer func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		close(back)
		l.back = nil
	}()
	var d net.Dialer
	for l.ctx.Err() == nil {
		c, err := d.DialContext(l.ctx, "tcp", l.address)
		if err == nil {
			_ = c.Close()
			return
		}
		select {
		case <-l.ctx.Done():
		case <-time.After(again):
		}
	}
}

func (l *load) once(c *http.Client, method, path, body, key string) (got []byte, status int, err error) {
	tries := 0
	ctx := httptrace.WithClientTrace(l.ctx, &httptrace.ClientTrace{GotConn: func(info httptrace.GotConnInfo) { tries++; reuse(info) }})
	req, err := http.NewRequestWithContext(ctx, method, l.url+path, bytes.NewReader([]byte(body)))
	if err != nil {
		return nil, 0, err
	}
	req.Header.Set("Authorization", "Bearer "+l.key)
	if key != "" {
		req.Header.Set("Idempotency-Key", key)
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := c.Do(req)
	if err != nil {
		return nil, 0, err
	}
	defer func() { _ = resp.Body.Close() }()
	if tries > 1 { // net/http sends again what it sent on a connection that was just closed
		l.redialed.Add(int64(tries - 1))
	}
	got, err = io.ReadAll(resp.Body)
	return got, resp.StatusCode, err
}

func (l *load) fail(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.failures = append(l.failures, time.Since(l.started).Round(time.Millisecond).String()+" "+fmt.Sprintf(format, args...))
}

// goOn waits until the load has gone on for a while and nothing has piled up.
func (l *load) goOn(t *testing.T, rate int) {
	t.Helper()
	want := l.answered.Load() + int64(roundSeconds*rate)
	require.Eventually(t, func() bool { return l.answered.Load() >= want && len(l.slots) <= rate }, 5*time.Minute, beat,
		"nobody is served; failures: %v", l.failures)
}

// stop begins nothing new and waits for what is under way: watchers go on until
// their job has ended.
func (l *load) stop() {
	close(l.stopping)
	l.took = time.Since(l.started)
	l.clients.Wait()
}

// lost waits until every job that was accepted has ended and returns those
// that did not succeed.
func (l *load) lost() []string {
	var ended sync.WaitGroup
	var mu sync.Mutex
	var lost []string
	slots := make(chan struct{}, 8)
	for _, id := range l.accepted {
		slots <- struct{}{}
		ended.Go(func() {
			defer func() { <-slots }()
			if state := l.await(id); state != job.StateSucceeded {
				mu.Lock()
				defer mu.Unlock()
				lost = append(lost, fmt.Sprintf("%s is %q", id, state))
			}
		})
	}
	ended.Wait()
	return lost
}

// await returns the state in which a job ends, "" if it is gone.
func (l *load) await(id job.ID) job.State {
	for {
		got, status, err := l.once(l.kept, http.MethodGet, "/v1/jobs/"+string(id)+"?wait=30", "", "")
		var doc struct {
			State   job.State `json:"state"`
			Version int64     `json:"version"`
		}
		switch {
		case l.ctx.Err() != nil:
			return doc.State
		case err != nil || status != http.StatusOK || json.Unmarshal(got, &doc) != nil:
			return job.State(fmt.Sprintf("answer %d %v", status, err))
		case doc.State.Final():
			return doc.State
		}
		if !l.pause() {
			return doc.State
		}
	}
}

// summary is what the load did, for the documentation.
func (l *load) summary(name string, lost int) string {
	slices.Sort(l.times)
	at := func(share float64) time.Duration {
		if len(l.times) == 0 {
			return 0
		}
		return l.times[int(share*float64(len(l.times)-1))].Round(100 * time.Microsecond)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s, %s under load:\n", name, l.took.Round(time.Second))
	fmt.Fprintf(&b, "  requests %d, %.0f a second, failed %d, sent again %d (and %d by net/http), connections refused or reset %d\n",
		l.sent.Load(), float64(l.sent.Load())/l.took.Seconds(), len(l.failures), l.repeated.Load(), l.redialed.Load(), len(l.severed))
	if l.away > 0 {
		fmt.Fprintf(&b, "  draining %s, then nobody there for %s, together\n", l.drained.Round(time.Millisecond), l.away.Round(time.Millisecond))
	}
	fmt.Fprintf(&b, "  jobs accepted %d, lost %d\n", len(l.accepted), lost)
	fmt.Fprintf(&b, "  watches that saw the end %d, events %d, resumed %d times\n", l.watched.Load(), l.events.Load(), l.resumed.Load())
	fmt.Fprintf(&b, "  status reads p50 %s, p99 %s, slowest %s", at(.5), at(.99), at(1))
	return b.String()
}
