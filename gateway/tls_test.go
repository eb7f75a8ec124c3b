package gateway_test

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/gateway"
	"github.com/voicemill/voicemill/platform/testkit"
)

// issue is testkit's.
func issue(t *testing.T, dir, name string, signer *tls.Certificate) (cert tls.Certificate, certFile, keyFile string) {
	t.Helper()
	return testkit.Certificate(t, dir, name, signer)
}

// secured is an answer over TLS.
type secured struct {
	StatusCode int
	TLS        *tls.ConnectionState
}

// secure asks for the voices over TLS on a new connection.
func (w *world) secure(cfg *tls.Config) (secured, error) {
	req, err := http.NewRequestWithContext(w.t.Context(), "GET", strings.Replace(w.url, "http:", "https:", 1)+"/v1/voices", http.NoBody)
	if err != nil {
		return secured{}, err
	}
	req.Header.Set("Authorization", "Bearer "+w.key)
	resp, err := (&http.Client{Transport: w.checked(&http.Transport{TLSClientConfig: cfg, DisableKeepAlives: true})}).Do(req)
	if err != nil {
		return secured{}, err
	}
	var b bytes.Buffer
	_, err = b.ReadFrom(resp.Body)
	_ = resp.Body.Close()
	return secured{resp.StatusCode, resp.TLS}, err
}

func TestTLSIsServedReloadedAndResumedByTheNextProcess(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	first, certFile, keyFile := issue(t, dir, "server", nil)
	w := newWorld(t, func(c *gateway.Config) {
		c.TLS = gateway.TLS{Cert: gateway.Words{certFile}, Key: gateway.Words{keyFile}, Tickets: filepath.Join(dir, "tickets")}
	})
	pool := x509.NewCertPool()
	pool.AddCert(first.Leaf)
	cfg := &tls.Config{RootCAs: pool, ClientSessionCache: tls.NewLRUClientSessionCache(4)}
	resp, err := w.secure(cfg)
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, resp.StatusCode)
	require.Equal(t, uint16(tls.VersionTLS13), resp.TLS.Version)
	a := w.call("GET", "/v1/jobs", "")
	require.Equal(t, http.StatusBadRequest, a.Status)
	require.Contains(t, a.problem(t).Detail, "TLS")

	require.NoError(t, w.stop())
	w.start()
	resp, err = w.secure(cfg)
	require.NoError(t, err)
	require.True(t, resp.TLS.DidResume, "the next process knows the ticket keys")
	info, err := os.Stat(filepath.Join(dir, "tickets"))
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode().Perm())

	second, _, _ := issue(t, dir, "server", nil) // in the same files
	w.reload <- struct{}{}
	pool.AddCert(second.Leaf)
	require.Eventually(t, func() bool {
		resp, err := w.secure(&tls.Config{RootCAs: pool})
		return err == nil && resp.TLS.PeerCertificates[0].Equal(second.Leaf)
	}, time.Minute, 10*time.Millisecond)
	require.NoError(t, os.WriteFile(certFile, []byte("nonsense"), 0o600))
	w.reload <- struct{}{}
	w.reload <- struct{}{} // taken once the first was done with
	resp, err = w.secure(&tls.Config{RootCAs: pool})
	require.NoError(t, err)
	require.True(t, resp.TLS.PeerCertificates[0].Equal(second.Leaf), "a file that cannot be used changes nothing")
}

func TestEveryServerNameHasItsCertificateAndKeepsItsConnectionsOverAReload(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	first, firstFile, firstKey := issue(t, dir, "one.example", nil)
	second, secondFile, secondKey := issue(t, dir, "two.example", nil)
	w := newWorld(t, func(c *gateway.Config) {
		c.TLS = gateway.TLS{Cert: gateway.Words{firstFile, secondFile}, Key: gateway.Words{firstKey, secondKey}}
	})
	pool := x509.NewCertPool()
	pool.AddCert(first.Leaf)
	pool.AddCert(second.Leaf)
	shown := func(name string) *x509.Certificate {
		resp, err := w.secure(&tls.Config{RootCAs: pool, ServerName: name})
		require.NoError(t, err, name)
		require.Equal(t, http.StatusOK, resp.StatusCode)
		return resp.TLS.PeerCertificates[0]
	}
	require.True(t, shown("one.example").Equal(first.Leaf))
	require.True(t, shown("two.example").Equal(second.Leaf))
	c, err := (&tls.Dialer{Config: &tls.Config{ServerName: "unknown.example", InsecureSkipVerify: true}}).DialContext(t.Context(), "tcp", w.address()) //nolint:gosec // no certificate is for that name
	require.NoError(t, err)
	stranger := c.(*tls.Conn)
	require.True(t, stranger.ConnectionState().PeerCertificates[0].Equal(first.Leaf), "an unknown name gets the first")
	require.NoError(t, stranger.Close())

	c, err = (&tls.Dialer{Config: &tls.Config{RootCAs: pool, ServerName: "two.example"}}).DialContext(t.Context(), "tcp", w.address())
	require.NoError(t, err)
	defer func() { _ = c.Close() }()
	renewed, _, _ := issue(t, dir, "two.example", nil) // in the same files
	pool.AddCert(renewed.Leaf)
	w.reload <- struct{}{}
	w.reload <- struct{}{} // taken once the first was done with
	require.True(t, shown("two.example").Equal(renewed.Leaf))
	require.True(t, shown("one.example").Equal(first.Leaf), "the other stays")
	req, err := http.NewRequestWithContext(t.Context(), "GET", "https://two.example/v1/voices", http.NoBody)
	require.NoError(t, err)
	req.Header.Set("Authorization", "Bearer "+w.key)
	require.NoError(t, req.Write(c))
	resp, err := http.ReadResponse(bufio.NewReader(c), req)
	require.NoError(t, err, "a connection from before the reload goes on")
	require.NoError(t, resp.Body.Close())
	require.Equal(t, http.StatusOK, resp.StatusCode)
}

func TestClientsWithoutACertificateStayOutIfOneIsRequired(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	authority, caFile, _ := issue(t, dir, "authority", nil)
	_, certFile, keyFile := issue(t, dir, "server", &authority)
	known, _, _ := issue(t, dir, "known", &authority)
	stranger, _, _ := issue(t, dir, "stranger", nil)
	w := newWorld(t, func(c *gateway.Config) {
		c.TLS = gateway.TLS{Cert: gateway.Words{certFile}, Key: gateway.Words{keyFile}, ClientCA: caFile, RequireCert: true, Plain: true}
	})
	pool := x509.NewCertPool()
	pool.AddCert(authority.Leaf)
	resp, err := w.secure(&tls.Config{RootCAs: pool, Certificates: []tls.Certificate{known}})
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, resp.StatusCode)
	for _, certs := range [][]tls.Certificate{nil, {stranger}} {
		_, err = w.secure(&tls.Config{RootCAs: pool, Certificates: certs})
		require.Error(t, err)
	}
	require.Equal(t, http.StatusOK, w.call("GET", "/v1/voices", "").Status, "plain connections are allowed here")
}

func TestTLSSettingsThatContradictAreRefused(t *testing.T) {
	t.Parallel()
	one, two := gateway.Words{"x"}, gateway.Words{"x", "y"}
	for name, s := range map[string]gateway.TLS{
		"no key": {Cert: one}, "no certificate": {Key: one}, "a key too few": {Cert: two, Key: one}, "only authorities": {ClientCA: "x"}, "only tickets": {Tickets: "x"},
		"nobody to trust": {Cert: one, Key: one, RequireCert: true},
	} {
		cfg := gateway.DefaultConfig()
		require.NoError(t, cfg.Validate())
		cfg.TLS = s
		require.Error(t, cfg.Validate(), name)
	}
	cfg := gateway.DefaultConfig()
	cfg.TLS = gateway.TLS{Cert: two, Key: one}
	require.ErrorContains(t, cfg.Validate(), "tls-cert ([x y]) and tls-key ([x])")
}
