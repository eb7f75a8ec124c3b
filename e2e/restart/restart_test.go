package restart_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/e2e/internal/stage"
)

var bin string // the folder with the built commands

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	if code, played := stage.RunRole(); played {
		return code
	}
	dir, err := os.MkdirTemp("", "voicemill-e2e-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() { _ = os.RemoveAll(dir) }()
	if err := stage.Build(context.Background(), dir); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	bin = dir
	return m.Run()
}

const (
	roundsEnv     = "VOICEMILL_RESTART_ROUNDS"   // how often the gateway is replaced, and as often restarted
	watchersEnv   = "VOICEMILL_RESTART_WATCHERS" // clients beside the workers that wait for a job all the time
	defaultRounds = 3
	workers       = 8
	testLimit     = 10 * time.Minute
	pause         = 10 * time.Millisecond // between two requests of a client
	watchSeconds  = 2
	served        = 50 // requests that every worker has answered, on average, between two rounds
)

// number reads a setting of the test.
func number(t *testing.T, env string, fallback int) int {
	t.Helper()
	text := os.Getenv(env)
	if text == "" {
		return fallback
	}
	n, err := strconv.Atoi(text)
	require.NoError(t, err)
	return n
}

// load is clients that go on until stop is called.
type load struct {
	url, key string
	cancel   context.CancelFunc
	wg       sync.WaitGroup
	patient  bool // a request that fails is sent again

	answered atomic.Int64
	mu       sync.Mutex
	failures []string // guarded by mu
	accepted []string // guarded by mu
}

// start runs clients that submit, that read, on kept and on new connections,
// and that wait for jobs.
func start(t *testing.T, s *stage.Stage, patient bool) *load {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), testLimit)
	l := &load{url: s.URL, key: s.Key, cancel: cancel, patient: patient}
	first := l.submit(ctx, http.DefaultClient, "first")
	require.NotEmpty(t, first, l.failures)
	for n := range workers + number(t, watchersEnv, 0) {
		tr := &http.Transport{DisableKeepAlives: n%2 == 0}
		c := &http.Client{Transport: tr, Timeout: time.Minute}
		l.wg.Go(func() {
			defer tr.CloseIdleConnections()
			for i := 0; ctx.Err() == nil; i++ {
				switch n {
				case 0, 1:
					l.submit(ctx, c, fmt.Sprintf("%p-%d-%d", l, n, i))
				case 2, 3:
					l.do(ctx, c, "GET", "/v1/jobs/"+first, "", "")
				case 4, 5:
					l.do(ctx, c, "GET", "/v1/voices", "", "")
				default:
					l.do(ctx, c, "GET", "/v1/jobs/"+first+"?wait="+strconv.Itoa(watchSeconds), "", "")
				}
				select {
				case <-ctx.Done():
				case <-time.After(pause):
				}
			}
		})
	}
	return l
}

func (l *load) stop() {
	l.cancel()
	l.wg.Wait()
}

func (l *load) submit(ctx context.Context, c *http.Client, key string) (id string) {
	body := `{"input":{"text":"A line that is spoken once."},"language":"en"}`
	got, ok := l.do(ctx, c, "POST", "/v1/jobs", body, key)
	if !ok {
		return ""
	}
	var doc struct {
		ID string `json:"id"`
	}
	if err := json.Unmarshal(got, &doc); err != nil || doc.ID == "" {
		l.fail("no job in %s", got)
		return ""
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.accepted = append(l.accepted, doc.ID)
	return doc.ID
}

// do sends one request, until it is answered if the load is patient.
func (l *load) do(ctx context.Context, c *http.Client, method, path, body, key string) ([]byte, bool) {
	for {
		got, err := l.once(ctx, c, method, path, body, key)
		switch {
		case ctx.Err() != nil:
			return nil, false
		case err == nil:
			l.answered.Add(1)
			return got, true
		case !l.patient:
			l.fail("%s %s: %v", method, path, err)
			return nil, false
		}
		select {
		case <-ctx.Done():
			return nil, false
		case <-time.After(pause):
		}
	}
}

func (l *load) once(ctx context.Context, c *http.Client, method, path, body, key string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, method, l.url+path, bytes.NewReader([]byte(body)))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Authorization", "Bearer "+l.key)
	if key != "" {
		req.Header.Set("Idempotency-Key", key)
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := c.Do(req)
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	got, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode >= http.StatusBadRequest {
		err = fmt.Errorf("answer %d %s", resp.StatusCode, got)
	}
	return got, err
}

func (l *load) fail(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.failures = append(l.failures, fmt.Sprintf(format, args...))
}

// goOn waits until more requests were answered.
func (l *load) goOn(t *testing.T) {
	t.Helper()
	want := l.answered.Load() + workers*served
	require.Eventually(t, func() bool { return l.answered.Load() >= want }, time.Minute, 20*time.Millisecond, "nobody is served")
}

// exists checks that every job that was accepted is there.
func (l *load) exists(t *testing.T) {
	t.Helper()
	require.NotEmpty(t, l.accepted)
	for _, id := range l.accepted {
		_, err := l.once(t.Context(), http.DefaultClient, "GET", "/v1/jobs/"+id, "", "")
		require.NoError(t, err, "job %s was accepted", id)
	}
}

func TestANewProcessTakesOverAndNoRequestFails(t *testing.T) {
	s := stage.New(t, bin)
	t.Cleanup(func() { _ = syscall.Kill(s.PID(stage.Gateway), syscall.SIGTERM) }) // the stage ends its own only
	l := start(t, s, false)
	defer l.stop()
	l.goOn(t)
	for round := range number(t, roundsEnv, defaultRounds) {
		old := s.PID(stage.Gateway)
		require.NotZero(t, old)
		require.NoError(t, syscall.Kill(old, syscall.SIGUSR2))
		require.Eventually(t, func() bool { return s.PID(stage.Gateway) != old }, time.Minute, 10*time.Millisecond, "round %d: nobody took over", round)
		l.goOn(t)
	}
	l.stop()
	require.Empty(t, l.failures)
	l.exists(t)
	t.Logf("%d requests, %d jobs", l.answered.Load(), len(l.accepted))
}

func TestARestartLosesNoJob(t *testing.T) {
	s := stage.New(t, bin)
	l := start(t, s, true)
	defer l.stop()
	l.goOn(t)
	for range number(t, roundsEnv, defaultRounds) {
		require.NoError(t, s.Stop(stage.Gateway))
		require.NoError(t, s.Start(t.Context(), stage.Gateway))
		l.goOn(t)
	}
	l.stop()
	l.exists(t)
	t.Logf("%d requests, %d jobs", l.answered.Load(), len(l.accepted))
}
