package up_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/voicemill/voicemill/api/client"
	"github.com/voicemill/voicemill/platform/testkit"
	"github.com/voicemill/voicemill/platform/testkit/commands"
	"github.com/voicemill/voicemill/scheduler"
	"github.com/voicemill/voicemill/voicemill/internal/up"
	"github.com/voicemill/voicemill/worker"
)

func TestMain(m *testing.M) {
	if code, child := scheduler.ServeChild(os.Args, os.Stdin, os.Stdout); child {
		os.Exit(code)
	}
	// gnet keeps a pool for the life of the process, from its package's start on.
	testkit.Main(m, goleak.IgnoreTopFunction("github.com/panjf2000/ants/v2.(*poolCommon).purgeStaleWorkers"),
		goleak.IgnoreTopFunction("github.com/panjf2000/ants/v2.(*poolCommon).ticktock"))
}

// journal is a log that is read while it is written.
type journal struct {
	mu  sync.Mutex // guards buf
	buf bytes.Buffer
}

// Write implements [io.Writer].
func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.buf.Write(p)
}

func (j *journal) text() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.buf.String()
}

// helper builds the program that speaks.
func helper(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	require.NoError(t, commands.Build(t.Context(), dir, commands.Espeak))
	return filepath.Join(dir, "voicemill-espeak")
}

// start runs everything until the test has ended, and returns what is known of it.
func start(t *testing.T, change func(*up.Config)) (up.Running, *journal) {
	t.Helper()
	cfg, log := up.DefaultConfig(), &journal{}
	dir := t.TempDir()
	cfg.Data = filepath.Join(dir, "data")
	for _, d := range []string{dir, filepath.Dir(dir)} {
		require.NoError(t, os.Chmod(d, 0o711)) //nolint:gosec // Postgres runs as another user and must pass
	}
	cfg.Gateway.Listen, cfg.Admin, cfg.S3Listen = "127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:0"
	cfg.Gateway.AccessLog = false
	cfg.Worker.Pools = worker.DefaultPools()
	cfg.Worker.Pools[0].Espeak = worker.EspeakConfig{Helper: helper(t)}
	change(&cfg)
	ctx, cancel := context.WithCancel(context.Background())
	ready, ended := make(chan up.Running, 1), make(chan error, 1)
	go func() {
		ended <- up.Run(ctx, cfg, up.Deps{Log: slog.New(slog.NewTextHandler(log, nil)), Ready: func(r up.Running) { ready <- r }})
	}()
	t.Cleanup(func() { cancel(); require.NoError(t, <-ended) })
	select {
	case r := <-ready:
		return r, log
	case err := <-ended:
		ended <- nil
		t.Fatalf("up ended: %v\n%s", err, log.text())
	}
	return up.Running{}, nil
}

// upload hands in a document as a client does and returns where it was sent.
func upload(t *testing.T, r up.Running, trusted *tls.Config) *url.URL {
	t.Helper()
	tr := &http.Transport{TLSClientConfig: trusted}
	t.Cleanup(tr.CloseIdleConnections)
	key, err := os.ReadFile(r.KeyFile)
	require.NoError(t, err)
	c, err := client.New(client.Config{URL: r.URL, Key: strings.TrimSpace(string(key)), HTTP: &http.Client{Transport: tr}})
	require.NoError(t, err)
	u, err := c.CreateUpload(t.Context(), "text/plain", 4)
	require.NoError(t, err)
	to, err := url.Parse(u.URL)
	require.NoError(t, err)
	if to.Hostname() == "127.0.0.1" {
		require.NoError(t, c.Put(t.Context(), u, strings.NewReader("text"), 4))
	}
	return to
}

func TestWhatOtherMachinesReachIsToldAndClientsAreSentToAnAddress(t *testing.T) {
	r, log := start(t, func(c *up.Config) {
		c.Gateway.Listen, c.Admin, c.S3Listen = "0.0.0.0:0", "0.0.0.0:0", "0.0.0.0:0"
	})
	require.Equal(t, "127.0.0.1", upload(t, r, nil).Hostname())
	for _, said := range []string{"clients on other machines are served without TLS", "admin port asks for no password", "bucket serves other machines without TLS", "blob-public-endpoint"} {
		require.Contains(t, log.text(), said)
	}
}

func TestTheBucketHasTheGatewaysCertificate(t *testing.T) {
	_, cert, key := testkit.Certificate(t, t.TempDir(), "voicemill.example", nil)
	pem, err := os.ReadFile(cert)
	require.NoError(t, err)
	trusted := &tls.Config{RootCAs: x509.NewCertPool(), ServerName: "voicemill.example"}
	require.True(t, trusted.RootCAs.AppendCertsFromPEM(pem))
	r, log := start(t, func(c *up.Config) { c.Gateway.TLS.Cert, c.Gateway.TLS.Key = []string{cert}, []string{key} })
	require.True(t, strings.HasPrefix(r.URL, "https://"), r.URL)
	to := upload(t, r, trusted)
	require.Equal(t, "https", to.Scheme)
	require.Equal(t, "127.0.0.1", to.Hostname())
	require.NotContains(t, log.text(), "without TLS")
}
