package torture_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/e2e/internal/stage"
	"github.com/voicemill/voicemill/job"
)

const (
	fullEnv   = "VOICEMILL_TORTURE_FULL" // set for the run of make torture-gateway
	serveName = "gateway.test"
	manyHeld  = 3000 // connections that the gateway takes, in the full run
	fewHeld   = 600
	patience  = 2 * time.Minute // for anything that must happen at last on a busy machine
)

// target is a gateway with everything it needs, in processes of their own.
type target struct {
	s    *stage.Stage
	addr string // takes plain connections and TLS
	tls  *tls.Config
	job  job.ID // one that was accepted
	pid  int
	full bool
}

func newTarget(t *testing.T) *target {
	t.Helper()
	cert, key, pool := certificate(t)
	g := &target{
		full: os.Getenv(fullEnv) != "",
		tls:  &tls.Config{RootCAs: pool, ServerName: serveName, MinVersion: tls.VersionTLS13, CurvePreferences: []tls.CurveID{tls.X25519}},
	}
	g.s = stage.New(t, bin, "VOICEMILL_TLS_CERT="+cert, "VOICEMILL_TLS_KEY="+key, "VOICEMILL_TLS_PLAIN=true",
		fmt.Sprintf("VOICEMILL_MAX_CONNS=%d", g.maxConns()), "VOICEMILL_KEY_RATE=off", "VOICEMILL_TENANT_RATE=off")
	g.addr = strings.TrimPrefix(g.s.URL, "http://")
	require.Eventually(t, func() bool { g.pid = g.s.PID(stage.Gateway); return g.pid != 0 }, patience, look)
	a, err := g.ask("POST /v1/jobs HTTP/1.1", `{"input":{"text":"A line."},"language":"en"}`)
	require.NoError(t, err)
	require.Equal(t, http.StatusAccepted, a.status, "%s", a.body)
	var doc struct {
		ID job.ID `json:"id"`
	}
	require.NoError(t, json.Unmarshal(a.body, &doc))
	g.job = doc.ID
	return g
}

// place asks for a place to upload a text to, through the gateway.
func (g *target) place(t *testing.T) string {
	t.Helper()
	a, err := g.ask("POST /v1/uploads HTTP/1.1", `{"media_type":"text/plain"}`)
	require.NoError(t, err)
	require.Equal(t, http.StatusCreated, a.status, "%s", a.body)
	var doc struct {
		ID string `json:"id"`
	}
	require.NoError(t, json.Unmarshal(a.body, &doc))
	return "PUT /v1/uploads/" + doc.ID + "/content HTTP/1.1"
}

// upload uploads a text whose length it does not say.
func (g *target) upload(t *testing.T) {
	t.Helper()
	conn, err := g.dial()
	require.NoError(t, err)
	defer func() { _ = conn.Close() }()
	head := g.request(g.place(t), "", "Content-Type: text/plain", "Transfer-Encoding: chunked", "Connection: close")
	_, err = io.WriteString(conn, head+"c\r\nIt was late.\r\n0\r\n\r\n")
	require.NoError(t, err)
	all, err := readAnswers(conn)
	require.NoError(t, err)
	require.Len(t, all, 1)
	require.Equal(t, http.StatusCreated, all[0].status, "%s", all[0].body)
}

func (g *target) maxConns() int {
	if g.full {
		return manyHeld
	}
	return fewHeld
}

// certificate writes one that signs itself.
func certificate(t *testing.T) (cert, key string, pool *x509.CertPool) {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	spec := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{serveName}, NotAfter: time.Now().Add(24 * time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, spec, spec, k.Public(), k)
	require.NoError(t, err)
	pkcs8, err := x509.MarshalPKCS8PrivateKey(k)
	require.NoError(t, err)
	dir := t.TempDir()
	cert, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	require.NoError(t, os.WriteFile(cert, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600))
	require.NoError(t, os.WriteFile(key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8}), 0o600))
	parsed, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	pool = x509.NewCertPool()
	pool.AddCert(parsed)
	return cert, key, pool
}

// dial connects; nothing on the connection takes longer than patience.
func (g *target) dial() (*net.TCPConn, error) {
	c, err := net.DialTimeout("tcp", g.addr, patience) //nolint:noctx // bounded by its own time
	if err != nil {
		return nil, err
	}
	tcp, _ := c.(*net.TCPConn)
	return tcp, tcp.SetDeadline(time.Now().Add(patience))
}

// request spells a request with the target's key.
func (g *target) request(line, body string, fields ...string) string {
	var b strings.Builder
	b.WriteString(line + "\r\nHost: h\r\nAuthorization: Bearer " + g.s.Key + "\r\n")
	if body != "" {
		b.WriteString("Content-Type: application/json\r\nContent-Length: " + strconv.Itoa(len(body)) + "\r\n")
	}
	for _, f := range fields {
		b.WriteString(f + "\r\n")
	}
	return b.String() + "\r\n" + body
}

// status asks for the job.
func (g *target) status(fields ...string) string {
	return g.request("GET /v1/jobs/"+string(g.job)+" HTTP/1.1", "", fields...)
}

// answer is one response.
type answer struct {
	status int
	header http.Header
	body   []byte
}

// ask sends one request on a connection of its own.
func (g *target) ask(line, body string, fields ...string) (answer, error) {
	c, err := g.dial()
	if err != nil {
		return answer{}, err
	}
	defer func() { _ = c.Close() }()
	if _, err := io.WriteString(c, g.request(line, body, append(fields, "Connection: close")...)); err != nil {
		return answer{}, err
	}
	all, err := readAnswers(c)
	if err != nil || len(all) != 1 {
		return answer{}, fmt.Errorf("%s: %d answers: %w", line, len(all), err)
	}
	return all[0], nil
}

// readAnswers reads the final answers until the end of input. methods are those
// of the requests, GET where they do not say.
func readAnswers(r io.Reader, methods ...string) ([]answer, error) {
	var all []answer
	for br := bufio.NewReader(r); ; {
		if _, err := br.Peek(1); errors.Is(err, io.EOF) {
			return all, nil
		}
		method := http.MethodGet
		if len(all) < len(methods) {
			method = methods[len(all)]
		}
		resp, err := http.ReadResponse(br, &http.Request{Method: method})
		if err != nil {
			return all, fmt.Errorf("read answer %d: %w", len(all)+1, err)
		}
		body, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if err != nil {
			return all, fmt.Errorf("read the body of answer %d: %w", len(all)+1, err)
		}
		if resp.StatusCode >= http.StatusOK || resp.StatusCode == http.StatusSwitchingProtocols {
			all = append(all, answer{resp.StatusCode, resp.Header, body})
		}
	}
}

// metrics reads the admin port: value by name with labels.
func (g *target) metrics(ctx context.Context) (map[string]float64, error) {
	b, err := g.admin(ctx, "/metrics")
	if err != nil {
		return nil, err
	}
	all := map[string]float64{}
	for line := range bytes.Lines(b) {
		name, value, found := strings.Cut(strings.TrimSpace(string(line)), " ")
		if strings.HasPrefix(name, "#") || !found {
			continue
		}
		if v, err := strconv.ParseFloat(value, 64); err == nil {
			all[name] = v
		}
	}
	return all, nil
}

func (g *target) admin(ctx context.Context, path string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+g.s.Admin(stage.Gateway)+path, http.NoBody)
	if err != nil {
		return nil, err
	}
	resp, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: patience}).Do(req)
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	return io.ReadAll(resp.Body)
}
