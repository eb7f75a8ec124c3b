package operation_test

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"log/slog"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/voicemill/voicemill/gateway/internal/auth"
	"github.com/voicemill/voicemill/gateway/internal/intake"
	"github.com/voicemill/voicemill/gateway/internal/operation"
	"github.com/voicemill/voicemill/gateway/internal/problem"
	"github.com/voicemill/voicemill/gateway/internal/shed"
	"github.com/voicemill/voicemill/gateway/internal/store"
	"github.com/voicemill/voicemill/gateway/internal/strictjson"
	"github.com/voicemill/voicemill/gateway/internal/voices"
	"github.com/voicemill/voicemill/gateway/internal/watch"
	"github.com/voicemill/voicemill/job"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const secret = "vm_0123456789abcdefghjkmnpqrs"

type memory struct{}

func (memory) PublishEnvelope(context.Context, []byte) error { return nil }
func (memory) Healthy() bool                                 { return true }
func (memory) Hint(job.ID, int64)                            {}
func (memory) PurgeJob(context.Context, job.ID) error        { return nil }
func (memory) HasEar(context.Context) (bool, error)          { return false, nil }

func (memory) ListFormats(context.Context) ([]string, error) { return nil, nil }

func (memory) ListVoices(context.Context) ([]voices.Voice, error) {
	return []voices.Voice{{Name: "narrator-en", Language: "en", Default: true}}, nil
}

func (memory) Versions(context.Context, []job.ID) (map[job.ID]watch.Version, error) {
	return nil, nil
}

// newOperations returns operations whose submits without uploads and idempotency
// keys need no database, as in production. change may be nil.
func newOperations(tb testing.TB, change func(*operation.Config, *operation.Deps)) *operation.Operations {
	tb.Helper()
	log := slog.New(slog.DiscardHandler)
	st, err := store.New(nil, rand.Reader)
	require.NoError(tb, err)
	committer, err := intake.New(intake.DefaultConfig(), memory{})
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
	cfg, dep := operation.DefaultConfig(), operation.Deps{
		Store: st, Database: func(context.Context) error { return nil }, Bus: memory{}, Intake: committer, Hub: hub, Voices: directory, Keys: keys,
		Secrets: auth.NewSecrets(make([]byte, 32), rand.Reader), Minter: minter, Log: log,
	}
	if change != nil {
		change(&cfg, &dep)
	}
	o, err := operation.New(cfg, dep)
	require.NoError(tb, err)
	ctx, cancel := context.WithCancel(context.Background())
	var parts sync.WaitGroup
	parts.Go(func() { _ = committer.Run(ctx) })
	tb.Cleanup(func() { cancel(); parts.Wait() })
	return o
}

// submit does what a carrier does with the body of a submit, and returns the status.
func submit(o *operation.Operations, body []byte) (status int, p *problem.Error) {
	c := operation.Caller{RequestID: "req_1", Started: time.Now()}
	c.Shown, _ = o.Show([]byte("Bearer "+secret), auth.Hash{}, nil)
	err := o.Admit(context.Background(), &c, auth.JobsWrite)
	var s operation.Submission
	if err == nil {
		s.Faults, err = strictjson.For[job.Spec]().Decode(body, &s.Spec)
		if syntax, ok := errors.AsType[*strictjson.SyntaxError](err); ok {
			err = problem.New(problem.NotJSON, syntax.Error())
		}
	}
	if err == nil {
		_, err = o.Submit(context.Background(), &c, &s)
	}
	if err != nil {
		p = o.Problem(err)
		return p.StatusCode(), p
	}
	return 202, nil
}

func statusOf(o *operation.Operations, body string) int {
	status, _ := submit(o, []byte(body))
	return status
}

func TestCallbacksToPlacesThatAreNotPublicAreRefused(t *testing.T) {
	t.Parallel()
	o := newOperations(t, func(c *operation.Config, _ *operation.Deps) {
		c.CallbackAllowed, c.CallbackPorts = []netip.Prefix{netip.MustParsePrefix("10.20.0.0/16")}, job.CallbackPorts([]uint16{8080})
	})
	open := newOperations(t, func(c *operation.Config, _ *operation.Deps) { c.CallbackPrivate = true })
	private := []string{
		"127.0.0.1", "127.9.9.9", "localhost", "LOCALHOST", "localhost.", "x.localhost", "printer.local", "db.internal", "10.0.0.1", "172.16.0.1",
		"192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0", "255.255.255.255", "224.0.0.1", "192.0.2.1", "198.18.0.1", "[::1]", "[::]",
		"[fe80::1]", "[fc00::1]", "[fd00:ec2::254]", "[ff02::1]", "[::ffff:127.0.0.1]", "[::ffff:10.0.0.1]", "[64:ff9b::7f00:1]", "[2002:7f00:1::]",
		"[::127.0.0.1]", "[fec0::1]", "[2001:db8::1]", "127.1", "2130706433", "0x7f000001", "0x7f.1", "017700000001",
	}
	public := []string{"example.com", "93.184.216.34", "[2606:2800:220:1::1]", "10.20.3.4", "xn--bcher-kva.example", "0xyz.example.com"}
	status := func(o *operation.Operations, host string) int {
		return statusOf(o, `{"input":{"text":"Hello."},"callback":{"url":"http://`+host+`:8080/x"}}`)
	}
	for _, host := range private {
		require.Equal(t, 422, status(o, host), host)
		require.Equal(t, 202, status(open, host), host)
	}
	for _, host := range public {
		require.Equal(t, 202, status(o, host), host)
	}
	usual := newOperations(t, nil)
	require.Equal(t, 422, statusOf(usual, `{"input":{"text":"Hello."},"callback":{"url":"https://example.com:8443/x"}}`))
	require.Equal(t, 422, status(usual, "example.com"))
	require.Equal(t, 202, status(open, "example.com"))
}

func TestAnEnvelopeHasRoomForEveryJob(t *testing.T) {
	t.Parallel()
	o := newOperations(t, nil)
	// Quotes grow when they are encoded.
	quoted := `{"text":"a` + strings.Repeat(`\"`, 40) + `","voice":"narrator-en"},`
	require.Equal(t, 202, statusOf(o, `{"input":{"segments":[`+strings.Repeat(quoted, 6000)+`{"text":"b"}]}}`))
	require.Equal(t, 202, statusOf(o, `{"input":{"text":"`+strings.Repeat(`<&>`, 80_000)+`a"}}`), "nothing is escaped for HTML")
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
	o := newOperations(f, nil)
	f.Fuzz(func(t *testing.T, body []byte) {
		status, p := submit(o, body)
		switch status {
		case 202:
			var spec job.Spec
			if err := json.Unmarshal(body, &spec); err != nil || faulty(&spec) {
				t.Fatalf("accepted %q: %v", body, err)
			}
		case 400, 413, 422:
			d := p.Document("req_1")
			b, err := json.Marshal(d)
			if err != nil || d.Status != status || d.Detail == "" || len(b) > 64<<10 {
				t.Fatalf("refused %q with %s: %v", body, b, err)
			}
		case 503: // an upload needs the database, which is not here
		default:
			t.Fatalf("%q was answered %d: %v", body, status, p)
		}
	})
}

func BenchmarkSubmit(b *testing.B) {
	o := newOperations(b, nil)
	body := []byte(`{"input":{"text":"` + strings.Repeat("The quick brown fox jumps over the lazy dog. ", 40) + `"},"voice":"narrator-en","language":"en","labels":{"book":"pg1661"},"callback":{"url":"https://example.com/hook"}}`)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if got, p := submit(o, body); got != 202 && got != 503 {
				b.Errorf("answered %d: %v", got, p)
			}
		}
	})
}

func TestASlowIntakeTurnsBulkAwayBeforeInteractive(t *testing.T) {
	t.Parallel()
	load, err := shed.New(shed.DefaultConfig())
	require.NoError(t, err)
	var reasons []string
	o := newOperations(t, func(_ *operation.Config, d *operation.Deps) {
		d.Load, d.Shed = load, func(r string) { reasons = append(reasons, r) }
	})
	const bulk, interactive = `{"input":{"text":"Hello."}}`, `{"input":{"text":"Hello."},"class":"interactive"}`
	require.Equal(t, 202, statusOf(o, bulk))
	for range 20 {
		load.Observe(3*time.Second, time.Now())
	}
	status, p := submit(o, []byte(bulk))
	require.Equal(t, 503, status)
	require.GreaterOrEqual(t, p.RetryAfter(), 2*time.Second)
	require.Equal(t, "/problems/overloaded", p.Document("").Type)
	require.Equal(t, 202, statusOf(o, interactive))
	for range 20 {
		load.Observe(9*time.Second, time.Now())
	}
	require.Equal(t, 503, statusOf(o, interactive))
	require.Equal(t, []string{"intake-bulk", "intake-interactive"}, reasons)
}

func faulty(s *job.Spec) bool {
	f := s.Faults(job.DefaultLimits())
	return f.Any()
}
