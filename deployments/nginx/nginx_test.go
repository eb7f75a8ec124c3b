package nginx_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/api/client/frames"
	"github.com/voicemill/voicemill/deployments/internal/services"
	"github.com/voicemill/voicemill/platform/testkit"
)

const (
	limit = 2 * time.Minute
	// client is where the test calls from, to be told from nginx.
	client = "127.0.0.9"
)

func TestMain(m *testing.M) { testkit.Main(m) }

// front is an nginx with voicemill behind it.
type front struct {
	url, frames, key, apiLog, nginxLog string
	tls                                *tls.Config
	http                               *http.Client
}

func TestNginxInFront(t *testing.T) {
	f := start(t)
	t.Run("a job, its events as they happen, and who asked", f.events)
	t.Run("WebSocket", f.webSocket)
	t.Run("frames", f.binaryFrames)
	t.Run("an upload", f.upload)
}

// events reads the first event of a job that is not over, which nginx would hold
// back if it buffered, and ends the job by cancelling it.
func (f *front) events(t *testing.T) {
	id := f.submit(t)
	res := f.do(t, http.MethodGet, "/v1/jobs/"+id+"/events", nil)
	defer func() { _ = res.Body.Close() }()
	events := bufio.NewScanner(res.Body)
	require.True(t, next(events, "data:"), "an event while the job goes on")
	cancel := f.do(t, http.MethodPost, "/v1/jobs/"+id+"/cancel", nil)
	_ = cancel.Body.Close()
	require.Less(t, cancel.StatusCode, 300)
	for next(events, "data:") { // until the last one
	}
	log, err := os.ReadFile(f.apiLog)
	require.NoError(t, err)
	require.Contains(t, string(log), `"client_ip":"`+client+`"`)
	require.NotContains(t, string(log), "203.0.113.66", "what a client says of itself is not believed")
}

func next(lines *bufio.Scanner, prefix string) bool {
	for lines.Scan() {
		if strings.HasPrefix(lines.Text(), prefix) {
			return true
		}
	}
	return false
}

func (f *front) webSocket(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	c, _, err := websocket.Dial(ctx, "wss"+strings.TrimPrefix(f.url, "https")+"/v1/jobs/"+f.submit(t)+"/live", &websocket.DialOptions{ //nolint:bodyclose // a 101 has none
		HTTPClient: &http.Client{Transport: &http.Transport{TLSClientConfig: f.tls}}, HTTPHeader: http.Header{"Authorization": {"Bearer " + f.key}},
	})
	require.NoError(t, err)
	for _, want := range []string{`"hello"`, `"state"`} { // who speaks, then the first event
		_, message, err := c.Read(ctx)
		require.NoError(t, err)
		require.Contains(t, string(message), want)
	}
	_ = c.CloseNow()
}

func (f *front) binaryFrames(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	c, err := frames.Dial(ctx, frames.Config{Address: f.frames, Key: f.key, TLS: f.tls})
	require.NoError(t, err)
	require.NoError(t, c.Ping(ctx))
	require.NoError(t, c.Close())
	log, err := os.ReadFile(f.apiLog)
	require.NoError(t, err)
	require.NotContains(t, string(log), `"client_ip":"127.0.0.2"`, "the client's address, not nginx's")
}

// upload sends more than nginx keeps in memory, and nginx keeps none of it on disk.
func (f *front) upload(t *testing.T) {
	res := f.do(t, http.MethodPost, "/v1/uploads", strings.NewReader(`{"media_type": "text/plain"}`))
	var made struct {
		ContentURL string `json:"content_url"`
	}
	body, err := io.ReadAll(res.Body)
	require.NoError(t, err)
	_ = res.Body.Close()
	require.NoError(t, json.Unmarshal(body, &made), string(body))
	require.NotEmpty(t, made.ContentURL, string(body))
	res = f.do(t, http.MethodPut, made.ContentURL[strings.Index(made.ContentURL, "/v1/"):], bytes.NewReader(bytes.Repeat([]byte("A line.\n"), 1<<20)))
	_ = res.Body.Close()
	require.Less(t, res.StatusCode, 300)
	log, err := os.ReadFile(f.nginxLog)
	require.NoError(t, err)
	require.NotContains(t, string(log), "buffered to a temporary file")
}

func (f *front) submit(t *testing.T) string {
	t.Helper()
	text := strings.Repeat("This sentence is one of very many that are spoken one after the other. ", 2000)
	job, err := json.Marshal(map[string]any{"input": map[string]any{"text": text}, "language": "en"})
	require.NoError(t, err)
	res := f.do(t, http.MethodPost, "/v1/jobs", bytes.NewReader(job))
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(res.Body)
	require.NoError(t, err)
	require.Equal(t, http.StatusAccepted, res.StatusCode, string(body))
	var accepted struct{ ID string }
	require.NoError(t, json.Unmarshal(body, &accepted))
	return accepted.ID
}

// do calls through nginx, pretending to speak for somebody else.
func (f *front) do(t *testing.T, method, path string, body io.Reader) *http.Response {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	t.Cleanup(cancel)
	req, err := http.NewRequestWithContext(ctx, method, f.url+path, body)
	require.NoError(t, err)
	req.Header.Set("Authorization", "Bearer "+f.key)
	req.Header.Set("Forwarded", "for=203.0.113.66")
	req.Header.Set("X-Forwarded-For", "203.0.113.66")
	if strings.HasSuffix(path, "/jobs") || strings.HasSuffix(path, "/uploads") {
		req.Header.Set("Content-Type", "application/json")
	} else if method == http.MethodPut {
		req.Header.Set("Content-Type", "text/plain")
	}
	res, err := f.http.Do(req)
	require.NoError(t, err)
	return res
}

// start has the file as it is, but for addresses and paths of this test.
func start(t *testing.T) *front {
	t.Helper()
	bin, err := services.Build()
	require.NoError(t, err)
	dir, err := os.MkdirTemp("", "voicemill-nginx-") //nolint:usetesting // t.TempDir may not be entered by the user that Postgres runs as
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	require.NoError(t, os.Chmod(dir, 0o711)) //nolint:gosec // as said
	_, certFile, keyFile := testkit.Certificate(t, t.TempDir(), "localhost", nil)
	api, web, stream := services.FreeAddress(t), services.FreeAddress(t), services.FreeAddress(t)

	up := exec.Command(filepath.Join(bin, "voicemill"), "up", "--data="+filepath.Join(dir, "data"), "--listen="+api, "--admin=127.0.0.1:0", //nolint:gosec,noctx // the test ends it
		"--s3-listen=127.0.0.1:0", "--proxies=127.0.0.1/32", "--proxy-from=127.0.0.2/32", "--access-log-rate=0", "--log-level=info", "--log-format=json")
	f := &front{url: "https://" + web, frames: stream, apiLog: services.Start(t, up).Log, nginxLog: filepath.Join(dir, "error.log")}
	services.Get(t, "http://"+api+"/v1/voices", http.StatusUnauthorized)

	text, err := os.ReadFile("voicemill.conf")
	require.NoError(t, err)
	conf := string(text)
	for old, own := range map[string]string{
		"127.0.0.1:7860": api, "listen 443 ": "listen " + web + " ", "listen 7870 ": "listen " + stream + " ", "/run/nginx.pid": dir + "/nginx.pid",
		"/var/log/nginx/error.log": f.nginxLog, "/etc/voicemill/server.pem": certFile, "/etc/voicemill/server.key": keyFile,
	} {
		require.Contains(t, conf, old)
		conf = strings.ReplaceAll(conf, old, own)
	}
	file := filepath.Join(dir, "nginx.conf")
	require.NoError(t, os.WriteFile(file, []byte(conf), 0o600))
	services.Start(t, exec.Command("nginx", "-c", file, "-e", f.nginxLog, "-g", "daemon off;")) //nolint:gosec,noctx // the test ends it

	f.tls = &tls.Config{InsecureSkipVerify: true} //nolint:gosec // the certificate is this test's
	dialer := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(client)}}
	transport := &http.Transport{TLSClientConfig: f.tls, DialContext: dialer.DialContext, ForceAttemptHTTP2: true}
	t.Cleanup(transport.CloseIdleConnections)
	f.http = &http.Client{Transport: transport}
	require.Eventually(t, func() bool { c, err := net.Dial("tcp", web); return err == nil && c.Close() == nil }, limit, 50*time.Millisecond) //nolint:noctx // on this machine
	require.Eventually(t, func() bool {
		key, err := os.ReadFile(filepath.Join(dir, "data", "first-key"))
		f.key = strings.TrimSpace(string(key))
		return err == nil && f.key != ""
	}, limit, 50*time.Millisecond)
	require.Eventually(t, func() bool {
		res := f.do(t, http.MethodGet, "/v1/voices", nil)
		defer func() { _ = res.Body.Close() }()
		voices, _ := io.ReadAll(res.Body)
		return bytes.Contains(voices, []byte("narrator-en"))
	}, limit, 100*time.Millisecond, "a worker that speaks")
	return f
}
