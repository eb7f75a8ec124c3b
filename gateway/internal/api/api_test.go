package api_test

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/voicemill/voicemill/gateway/internal/api"
	"github.com/voicemill/voicemill/gateway/internal/auth"
	"github.com/voicemill/voicemill/gateway/internal/intake"
	"github.com/voicemill/voicemill/gateway/internal/offload"
	"github.com/voicemill/voicemill/gateway/internal/shed"
	"github.com/voicemill/voicemill/gateway/internal/store"
	"github.com/voicemill/voicemill/gateway/internal/voices"
	"github.com/voicemill/voicemill/gateway/internal/watch"
	"github.com/voicemill/voicemill/job"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	workers = 2
	secret  = "vm_0123456789abcdefghjkmnpqrs"
)

// exchange is a carrier of one call that needs no socket.
type exchange struct {
	method, path, query string
	header              map[string]string
	body                []byte
	answered            chan api.Answer
	once                sync.Once
}

func post(body []byte) *exchange {
	return &exchange{
		method: "POST", path: "/v1/jobs", body: body, answered: make(chan api.Answer, 1),
		header: map[string]string{"authorization": "Bearer " + secret, "content-type": "application/json"},
	}
}

func (x *exchange) Method() string           { return x.method }
func (x *exchange) RawPath() []byte          { return []byte(x.path) }
func (x *exchange) Query() []byte            { return []byte(x.query) }
func (x *exchange) Body() []byte             { return x.body }
func (x *exchange) Detach()                  {}
func (x *exchange) Context() context.Context { return context.Background() }
func (x *exchange) OnClose(func())           {}
func (x *exchange) Reply(a *api.Answer)      { x.once.Do(func() { x.answered <- *a }) }
func (x *exchange) Header(name string) []byte {
	if v, ok := x.header[name]; ok {
		return []byte(v)
	}
	return nil
}

type memory struct{}

func (memory) PublishEnvelope(context.Context, []byte) error { return nil }
func (memory) Healthy() bool                                 { return true }
func (memory) Hint(job.ID, int64)                            {}
func (memory) PurgeJob(context.Context, job.ID) error        { return nil }
func (memory) ListVoices(context.Context) ([]voices.Voice, error) {
	return []voices.Voice{{Name: "narrator-en", Language: "en", Default: true}}, nil
}

func (memory) Versions(context.Context, []job.ID) (map[job.ID]watch.Version, error) {
	return nil, nil
}

// newAPI returns an API whose submits without uploads and idempotency keys need
// no database, as in production.
func newAPI(tb testing.TB, change func(*api.Config)) *api.API {
	tb.Helper()
	return newAPIWith(tb, change, nil)
}

// newAPIWith is newAPI with a controller of load and what is told of refusals.
func newAPIWith(tb testing.TB, change func(*api.Config), load *shed.Controller, told ...func(string)) *api.API {
	tb.Helper()
	log := slog.New(slog.DiscardHandler)
	st, err := store.New(nil, rand.Reader)
	require.NoError(tb, err)
	committer, err := intake.New(intake.DefaultConfig(), memory{})
	require.NoError(tb, err)
	pool, err := offload.New(workers, 64)
	require.NoError(tb, err)
	hub, err := watch.New(watch.DefaultConfig(), memory{}, log)
	require.NoError(tb, err)
	directory := voices.NewDirectory(memory{}, log)
	require.NoError(tb, directory.Refresh(context.Background()))
	cfgKeys := auth.DefaultConfig()
	cfgKeys.Keep = time.Hour
	keys, err := auth.NewCache(cfgKeys)
	require.NoError(tb, err)
	keys.Put(auth.HashKey(secret), &auth.Identity{KeyID: "key_1", Tenant: "default", Scopes: auth.Scopes()}, time.Now())
	minter, err := job.NewMinter(make([]byte, 32), rand.Reader)
	require.NoError(tb, err)
	cfg := api.DefaultConfig()
	if change != nil {
		change(&cfg)
	}
	a, err := api.New(cfg, api.Deps{
		Store: st, Bus: memory{}, Intake: committer, Pool: pool, Hub: hub, Voices: directory, Keys: keys, Secrets: auth.NewSecrets(make([]byte, 32), rand.Reader), Minter: minter, Log: log, Load: load,
		Shed: func(reason string) {
			for _, f := range told {
				f(reason)
			}
		},
	})
	require.NoError(tb, err)
	ctx, cancel := context.WithCancel(context.Background())
	var parts sync.WaitGroup
	parts.Go(func() { _ = pool.Run(ctx) })
	parts.Go(func() { _ = committer.Run(ctx) })
	tb.Cleanup(func() { cancel(); parts.Wait() })
	return a
}

func serve(a *api.API, x *exchange) api.Answer {
	a.Serve(&api.Call{Exchange: x, RequestID: "req_1", Started: time.Now()})
	return <-x.answered
}

func TestCallbacksToPlacesThatAreNotPublicAreRefused(t *testing.T) {
	t.Parallel()
	a := newAPI(t, func(c *api.Config) {
		c.CallbackAllowed, c.CallbackPorts = []netip.Prefix{netip.MustParsePrefix("10.20.0.0/16")}, job.CallbackPorts([]uint16{8080})
	})
	open := newAPI(t, func(c *api.Config) { c.CallbackPrivate = true })
	private := []string{
		"127.0.0.1", "127.9.9.9", "localhost", "LOCALHOST", "localhost.", "x.localhost", "printer.local", "db.internal", "10.0.0.1", "172.16.0.1",
		"192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0", "255.255.255.255", "224.0.0.1", "192.0.2.1", "198.18.0.1", "[::1]", "[::]",
		"[fe80::1]", "[fc00::1]", "[fd00:ec2::254]", "[ff02::1]", "[::ffff:127.0.0.1]", "[::ffff:10.0.0.1]", "[64:ff9b::7f00:1]", "[2002:7f00:1::]",
		"[::127.0.0.1]", "[fec0::1]", "[2001:db8::1]", "127.1", "2130706433", "0x7f000001", "0x7f.1", "017700000001",
	}
	public := []string{"example.com", "93.184.216.34", "[2606:2800:220:1::1]", "10.20.3.4", "xn--bcher-kva.example", "0xyz.example.com"}
	status := func(a *api.API, host string) int {
		return serve(a, post([]byte(`{"input":{"text":"Hello."},"callback":{"url":"http://`+host+`:8080/x"}}`))).Status
	}
	for _, host := range private {
		require.Equal(t, 422, status(a, host), host)
		require.Equal(t, 202, status(open, host), host)
	}
	for _, host := range public {
		require.Equal(t, 202, status(a, host), host)
	}
	usual := newAPI(t, nil)
	refused := serve(usual, post([]byte(`{"input":{"text":"Hello."},"callback":{"url":"https://example.com:8443/x"}}`)))
	require.Equal(t, 422, refused.Status)
	require.Equal(t, 422, status(usual, "example.com"))
	require.Equal(t, 202, status(open, "example.com"))
}

func TestALargeBodyLeavesTheLoop(t *testing.T) {
	t.Parallel()
	a := newAPI(t, nil)
	wake := make(chan struct{})
	for range workers { // whatever leaves the loop waits now
		require.NoError(t, a.Go(func() { <-wake }, func() {}))
	}
	many := `{"input":{"segments":[` + strings.Repeat(`{"text":"a"},`, 99) + `{"text":"a"}]}}`
	var spec job.Spec
	require.NoError(t, json.Unmarshal([]byte(many), &spec))
	large, framed := post([]byte(`{"input":{"text":"`+strings.Repeat("word ", 20_000)+`"}}`)), post(nil)
	a.Serve(&api.Call{Exchange: large, RequestID: "req_1", Started: time.Now()})
	a.Serve(&api.Call{Exchange: framed, RequestID: "req_2", Started: time.Now(), Spec: &spec})
	require.Equal(t, 202, serve(a, post([]byte(many))).Status, "a small one is read where it is")
	require.Empty(t, large.answered)
	require.Empty(t, framed.answered)
	close(wake)
	for _, x := range []*exchange{large, framed} {
		got := <-x.answered
		require.Equal(t, 202, got.Status)
	}
}

func TestAnEnvelopeHasRoomForEveryJob(t *testing.T) {
	t.Parallel()
	a := newAPI(t, nil)
	// Quotes grow when they are encoded.
	quoted := `{"text":"a` + strings.Repeat(`\"`, 40) + `","voice":"narrator-en"},`
	require.Equal(t, 202, serve(a, post([]byte(`{"input":{"segments":[`+strings.Repeat(quoted, 6000)+`{"text":"b"}]}}`))).Status)
	require.Equal(t, 202, serve(a, post([]byte(`{"input":{"text":"`+strings.Repeat(`<&>`, 80_000)+`a"}}`))).Status, "nothing is escaped for HTML")
}

// FuzzSubmit sends whatever as the body of a submit: it is accepted or refused
// with a problem document, and what is accepted is a good spec.
func FuzzSubmit(f *testing.F) {
	for _, s := range []string{
		`{"input":{"text":"Hello."}}`, `{"input":{"segments":[{"text":"a","voice":"narrator-en"}]}}`, `{"input":{"text":"a"},"language":"en","speed":1}`,
		`{"labels":{"\u0000":"\ud800"}}`, `[`, ``, `{"input":{"text":"a"},"callback":{"url":"http://[::ffff:127.0.0.1]/","events":["x"]}}`,
		`{"input":{"text":"a"},"callback":{"url":"http://[::1%25eth0]/"}}`, `{"input":{"text":"a"},"deadline":"2026-12-01T06:00:00Z","priority":99}`,
		`{"input":{"segments":[` + strings.Repeat(`{"text":"","voice":"nobody"},`, 3000) + `{}]}}`, `{"labels":{"` + strings.Repeat("x", 100_000) + `":1}}`,
		`{"input":{"text":"a"},"language":"` + strings.Repeat("x", 100_000) + `","class":"` + strings.Repeat("y", 100_000) + `"}`,
		`{"input":{"text":null},"input":{}}`, `{"input":{"text":"\u0000"}}`, `{"output":{"pauses":{"chapter":1e400}}}`,
	} {
		f.Add([]byte(s))
	}
	a := newAPI(f, nil)
	f.Fuzz(func(t *testing.T, body []byte) {
		x := post(body)
		got := serve(a, x)
		switch got.Status {
		case 202:
			var spec job.Spec
			if err := json.Unmarshal(body, &spec); err != nil || faulty(&spec) {
				t.Fatalf("accepted %q: %v", body, err)
			}
		case 400, 413, 422:
			var p struct {
				Type, Title, Detail string
				Status              int
			}
			if err := json.Unmarshal(got.Bytes(), &p); err != nil || p.Status != got.Status || p.Detail == "" || len(got.Bytes()) > 64<<10 {
				t.Fatalf("refused %q with %s: %v", body, got.Bytes(), err)
			}
		case 503: // an upload needs the database, which is not here
		case 500:
			t.Fatalf("%q made the API fail: %s", body, got.Bytes())
		default:
			t.Fatalf("%q was answered %d", body, got.Status)
		}
	})
}

// FuzzRoute sends whatever as method, path and query.
func FuzzRoute(f *testing.F) {
	a := newAPI(f, nil)
	for _, r := range api.Routes() {
		method, pattern, _ := strings.Cut(r, " ")
		f.Add(method, pattern, "limit=1&wait=2")
	}
	f.Add("GET", "/v1/jobs/%2e%2e", "%zz")
	f.Add("OPTIONS", "*", "")
	f.Add("BREW", "/v1/jobs", "")
	f.Add("GET", "/v1/%6Aobs/%6aob_x", "")
	f.Add("POST", "/v1/jobs%3Abatch", "")
	f.Add("GET", "/v1%2Fjobs/%256Aobs", "")
	f.Fuzz(func(t *testing.T, method, path, query string) {
		got := routed(a, method, path, query)
		if !slices.Contains([]int{401, 404, 405, 501, 204}, got) {
			t.Fatalf("%q %q was answered %d", method, path, got)
		}
		if !strings.HasPrefix(path, "/") || strings.Contains(path, "%") {
			return
		}
		if encoded := everyByte(path); routed(a, method, encoded, query) != got || a.Streams(method, []byte(encoded)) != a.Streams(method, []byte(path)) {
			t.Fatalf("%q %q is another path than %q", method, encoded, path)
		}
	})
}

// routed asks without a key, which nobody gets past, and returns the status.
func routed(a *api.API, method, path, query string) int {
	x := post(nil)
	x.method, x.path, x.query = method, path, query
	delete(x.header, "authorization")
	return serve(a, x).Status
}

// everyByte percent-encodes all of a path but the slashes.
func everyByte(path string) string {
	var b strings.Builder
	for _, c := range []byte(path) {
		if c == '/' {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "%%%02x", c)
		}
	}
	return b.String()
}

func BenchmarkSubmit(b *testing.B) {
	a := newAPI(b, nil)
	body := []byte(`{"input":{"text":"` + strings.Repeat("The quick brown fox jumps over the lazy dog. ", 40) + `"},"voice":"narrator-en","language":"en","labels":{"book":"pg1661"},"callback":{"url":"https://example.com/hook"}}`)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if got := serve(a, post(body)); got.Status != 202 && got.Status != 503 {
				b.Errorf("answered %d", got.Status)
			}
		}
	})
}

func TestASlowIntakeTurnsBulkAwayBeforeInteractive(t *testing.T) {
	t.Parallel()
	load, err := shed.New(shed.DefaultConfig())
	require.NoError(t, err)
	var reasons []string
	a := newAPIWith(t, nil, load, func(r string) { reasons = append(reasons, r) })
	bulk, interactive := []byte(`{"input":{"text":"Hello."}}`), []byte(`{"input":{"text":"Hello."},"class":"interactive"}`)
	require.Equal(t, 202, serve(a, post(bulk)).Status)
	for range 20 {
		load.Observe(3*time.Second, time.Now())
	}
	got := serve(a, post(bulk))
	require.Equal(t, 503, got.Status)
	require.GreaterOrEqual(t, got.RetryAfter, 2*time.Second)
	require.Contains(t, string(got.Bytes()), "/problems/overloaded")
	require.Equal(t, 202, serve(a, post(interactive)).Status)
	for range 20 {
		load.Observe(9*time.Second, time.Now())
	}
	require.Equal(t, 503, serve(a, post(interactive)).Status)
	require.Equal(t, []string{"intake-bulk", "intake-interactive"}, reasons)
}

func faulty(s *job.Spec) bool {
	f := s.Faults(job.DefaultLimits())
	return f.Any()
}
