package gateway_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/voicemill/voicemill/api/apitest"
	"github.com/voicemill/voicemill/api/client"
	"github.com/voicemill/voicemill/api/jobdoc"
	"github.com/voicemill/voicemill/gateway"
	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/platform/blob"
	"github.com/voicemill/voicemill/platform/bus"
	"github.com/voicemill/voicemill/platform/config"
	"github.com/voicemill/voicemill/platform/embed/natsd"
	"github.com/voicemill/voicemill/platform/pg"
	"github.com/voicemill/voicemill/platform/telemetry"
	"github.com/voicemill/voicemill/platform/testkit"
)

func TestMain(m *testing.M) {
	// gnet keeps a pool for the life of the process, from its package's start on.
	testkit.Main(m, goleak.IgnoreTopFunction("github.com/panjf2000/ants/v2.(*poolCommon).purgeStaleWorkers"),
		goleak.IgnoreTopFunction("github.com/panjf2000/ants/v2.(*poolCommon).ticktock"))
}

const tenant job.Tenant = "default"

// world is a gateway with everything it needs, all of it real.
type world struct {
	t        *testing.T
	cfg      gateway.Config
	url      string
	key      string // every scope
	other    string // every scope, of another tenant
	db       *pg.Pool
	gwDB     *pg.Pool // the gateway's own, so that a test may take it away
	nats     *natsd.Server
	natsDir  string
	bus      *bus.Bus
	bucket   *blob.Store
	s3       *relay
	registry *telemetry.Registry
	log      *syncBuffer
	reload   chan struct{}
	stop     func() error // ends the gateway and returns what Run did
	contract *apitest.Contract
}

type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// newWorld starts a gateway that neither sheds nor gives a publish up because
// the machine is slow. change may be nil.
func newWorld(t *testing.T, change func(*gateway.Config)) *world {
	t.Helper()
	w := &world{t: t, cfg: gateway.DefaultConfig(), natsDir: filepath.Join(t.TempDir(), "nats"), log: &syncBuffer{}, reload: make(chan struct{})}
	w.cfg.Listen, w.cfg.Grace = "127.0.0.1:0", 5*time.Second
	w.cfg.PublishTimeout, w.cfg.ShedBulk, w.cfg.ShedInteractive = 30*time.Second, 30*time.Second, 30*time.Second
	if change != nil {
		change(&w.cfg)
	}
	dsn := config.NewSecret(testkit.PostgresDSN(t))
	var err error
	for _, db := range []**pg.Pool{&w.db, &w.gwDB} {
		*db, err = pg.Connect(t.Context(), pg.Config{DSN: dsn, MaxConns: 8}, testkit.Log(t))
		require.NoError(t, err)
		t.Cleanup((*db).Close)
	}
	w.nats = testkit.NATSServer(t, w.natsDir)
	w.bus = testkit.Bus(t, w.nats, bus.Config{})
	s3 := testkit.S3Config(t)
	w.s3 = newRelay(t, s3.Endpoint)
	s3.Endpoint = w.s3.addr
	w.bucket, err = blob.Open(t.Context(), s3)
	require.NoError(t, err)
	t.Cleanup(w.bucket.Close)

	for _, name := range []job.Tenant{tenant, "other"} {
		require.NoError(t, pg.EnsureTenant(t.Context(), w.db, name))
	}
	w.exec(`insert into voices (name, pool, language, engine, sample_rate, is_default) values
		('narrator-en', 'espeak', 'en', 'espeak-ng', 22050, true), ('anna-de', 'espeak', 'de', 'espeak-ng', 22050, true)`)
	w.key = w.newKey(tenant, gateway.Scopes()...)
	w.other = w.newKey("other", gateway.Scopes()...)
	w.contract, err = apitest.Load(t.Context())
	require.NoError(t, err)
	w.start()
	return w
}

// losesItsBus is for a test that stops NATS and waits for what that does.
func losesItsBus(c *gateway.Config) { c.PublishTimeout = 5 * time.Second }

func (w *world) start() {
	w.t.Helper()
	ctx, cancel := context.WithCancel(w.t.Context())
	ready, done := make(chan net.Addr, 1), make(chan error, 1)
	w.registry = telemetry.NewRegistry()
	go func() {
		done <- gateway.Run(ctx, w.cfg, gateway.Deps{
			Log: testkit.Log(w.t), Access: slog.New(slog.NewJSONHandler(w.log, nil)), Registry: w.registry, Bus: w.bus, DB: w.gwDB, Blob: w.bucket,
			Random: rand.Reader, Reload: w.reload, Ready: func(a net.Addr) { ready <- a },
		})
	}()
	select {
	case addr := <-ready:
		w.url = "http://" + addr.String()
	case err := <-done:
		w.t.Fatalf("the gateway did not start: %v", err)
	}
	var once sync.Once
	var result error
	w.stop = func() error {
		once.Do(func() { cancel(); result = <-done })
		return result
	}
	w.t.Cleanup(func() { _ = w.stop() })
}

func (w *world) newKey(t job.Tenant, scopes ...string) string {
	w.t.Helper()
	secret, err := gateway.CreateKey(w.t.Context(), w.db, t, "test", scopes, rand.Reader)
	require.NoError(w.t, err)
	return secret
}

func (w *world) exec(sql string, args ...any) {
	w.t.Helper()
	_, err := w.db.Exec(w.t.Context(), sql, args...)
	require.NoError(w.t, err)
}

func (w *world) scan(sql string, into ...any) {
	w.t.Helper()
	require.NoError(w.t, w.db.QueryRow(w.t.Context(), sql).Scan(into...))
}

func (w *world) client(key string) *client.Client {
	w.t.Helper()
	tr := &http.Transport{}
	w.t.Cleanup(tr.CloseIdleConnections)
	c, err := client.New(client.Config{URL: w.url, Key: key, HTTP: &http.Client{Transport: w.checked(tr)}, Tries: 1})
	require.NoError(w.t, err)
	return c
}

// take plays the scheduler: it takes every envelope out of JOBS until quiet and
// returns the jobs.
func (w *world) take(want int) []bus.AcceptedJob {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), 2*time.Minute)
	defer cancel()
	var got []bus.AcceptedJob
	err := w.bus.Envelopes(ctx, func(_ context.Context, e bus.Envelope) error {
		got = append(got, e.Jobs...)
		if len(got) >= want {
			cancel()
		}
		return nil
	})
	require.NoError(w.t, err)
	require.Len(w.t, got, want)
	return got
}

// write plays the scheduler's intake for one job.
func (w *world) write(j bus.AcceptedJob) {
	w.t.Helper()
	spec, err := json.Marshal(j.Spec)
	require.NoError(w.t, err)
	labels, err := json.Marshal(j.Spec.Labels)
	require.NoError(w.t, err)
	if j.Spec.Labels == nil {
		labels = []byte("{}")
	}
	w.exec(`insert into jobs (id, tenant_id, class, state, spec, labels, on_failure, accepted_at, finished_at)
		select $1::text, $2, $3, case when cancelled then 'cancelled' else 'accepted' end, $4, $5, $6, $7::timestamptz, case when cancelled then now() end
		from (select exists (select 1 from cancellations where job_id = $1::text)) as c (cancelled)
		on conflict do nothing`, j.ID, j.Tenant, j.Spec.Class, spec, labels, j.Spec.OnFailure, j.AcceptedAt)
}

// answer is what the gateway said.
type answer struct {
	Status int
	Header http.Header
	Body   []byte
}

func (a answer) job(t *testing.T) jobdoc.Document {
	t.Helper()
	var d jobdoc.Document
	require.NoError(t, json.Unmarshal(a.Body, &d), "%s", a.Body)
	return d
}

func (a answer) problem(t *testing.T) client.Problem {
	t.Helper()
	var p client.Problem
	require.Equal(t, "application/problem+json", a.Header.Get("Content-Type"), "%s", a.Body)
	require.NoError(t, json.Unmarshal(a.Body, &p), "%s", a.Body)
	require.Equal(t, a.Status, p.Status)
	require.Equal(t, a.Header.Get("X-Request-Id"), p.RequestID)
	return p
}

// call sends one request with the world's key. headers are name, value, …; an
// Authorization of "" sends none. The exchange is held against the contract.
func (w *world) call(method, path, body string, headers ...string) answer {
	w.t.Helper()
	a, err := w.try(w.t.Context(), method, path, body, headers...)
	require.NoError(w.t, err)
	return a
}

func (w *world) try(ctx context.Context, method, path, body string, headers ...string) (answer, error) {
	req, err := http.NewRequestWithContext(ctx, method, w.url+path, strings.NewReader(body))
	if err != nil {
		return answer{}, err
	}
	req.Header.Set("Authorization", "Bearer "+w.key)
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
		if headers[i+1] == "" {
			req.Header.Del(headers[i])
		}
	}
	tr := w.checked(&http.Transport{DisableKeepAlives: true})
	c := http.Client{Transport: tr, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	resp, err := c.Do(req)
	if err != nil {
		return answer{}, err
	}
	defer func() { _ = resp.Body.Close() }()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		return answer{}, err
	}
	return answer{Status: resp.StatusCode, Header: resp.Header, Body: raw}, nil
}

// checked holds everything that passes to the gateway and back against the
// contract. A violation fails the test, whatever the test makes of the error.
func (w *world) checked(base http.RoundTripper) http.RoundTripper {
	return &apitest.Transport{
		Contract: w.contract, Base: base, Of: func(r *http.Request) bool { return r.URL.Host == w.address() },
		Report: func(violation error) { w.t.Error(violation) },
	}
}

// relay stands before a server and can be cut.
type relay struct {
	addr string
	ln   net.Listener
	to   string

	mu    sync.Mutex
	cut   bool
	conns map[net.Conn]struct{}
	wg    sync.WaitGroup
}

func newRelay(t *testing.T, to string) *relay {
	t.Helper()
	var lc net.ListenConfig
	ln, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	r := &relay{addr: ln.Addr().String(), ln: ln, to: to, conns: map[net.Conn]struct{}{}}
	r.wg.Go(r.accept)
	t.Cleanup(func() { _ = ln.Close(); r.set(true); r.wg.Wait() })
	return r
}

// set cuts every connection and refuses new ones, or lets them through again.
func (r *relay) set(cut bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.cut = cut
	if cut {
		for c := range r.conns {
			_ = c.Close()
		}
	}
}

func (r *relay) keep(c net.Conn) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.cut {
		_ = c.Close()
		return false
	}
	r.conns[c] = struct{}{}
	return true
}

func (r *relay) accept() {
	for {
		c, err := r.ln.Accept()
		if err != nil {
			return
		}
		if !r.keep(c) {
			continue
		}
		r.wg.Go(func() { r.pipe(c) })
	}
}

func (r *relay) pipe(c net.Conn) {
	defer func() { _ = c.Close() }()
	up, err := net.Dial("tcp", r.to) //nolint:noctx // ends with the relay
	if err != nil || !r.keep(up) {
		return
	}
	defer func() { _ = up.Close() }()
	done := make(chan struct{}, 2)
	go func() { _, _ = io.Copy(up, c); done <- struct{}{} }()
	go func() { _, _ = io.Copy(c, up); done <- struct{}{} }()
	<-done
	_ = errors.Join(c.Close(), up.Close())
	<-done
}

// mintedFor returns an id that the gateway would have minted, without minting it there.
func (w *world) mintedFor(t job.Tenant) job.ID { return w.mintedAt(t, time.Now()) }

func (w *world) mintedAt(t job.Tenant, at time.Time) job.ID {
	w.t.Helper()
	key, err := pg.Setting(w.t.Context(), w.db, "id_key", func() []byte { return make([]byte, 32) })
	require.NoError(w.t, err)
	m, err := job.NewMinter(key, rand.Reader)
	require.NoError(w.t, err)
	id, err := m.Mint(t, at)
	require.NoError(w.t, err)
	return id
}
