package gateway_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net/http"
	"testing"

	"github.com/coder/websocket"
	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/api/client"
	"github.com/voicemill/voicemill/api/client/frames"
	"github.com/voicemill/voicemill/gateway"
	"github.com/voicemill/voicemill/job"
)

// guarded is a gateway that asks for the certificates of an authority.
type guarded struct {
	*world
	authority tls.Certificate
	dir       string
	roots     *x509.CertPool
}

func newGuarded(t *testing.T, origins ...string) *guarded {
	t.Helper()
	g := &guarded{dir: t.TempDir(), roots: x509.NewCertPool()}
	var caFile string
	g.authority, caFile, _ = issue(t, g.dir, "authority", nil)
	_, certFile, keyFile := issue(t, g.dir, "server", &g.authority)
	g.roots.AddCert(g.authority.Leaf)
	g.world = newWorld(t, func(c *gateway.Config) {
		c.TLS = gateway.TLS{Cert: gateway.Words{certFile}, Key: gateway.Words{keyFile}, ClientCA: caFile, Plain: true}
		c.Origins = origins
	})
	return g
}

// as is a client that shows a certificate and, if it is not empty, a key.
func (g *guarded) as(key string, certs ...tls.Certificate) *client.Client {
	g.t.Helper()
	tr := &http.Transport{TLSClientConfig: g.tls(certs...)}
	g.t.Cleanup(tr.CloseIdleConnections)
	c, err := client.New(client.Config{URL: "https://" + g.address(), Key: key, HTTP: &http.Client{Transport: g.checked(tr)}, Tries: 1})
	require.NoError(g.t, err)
	return c
}

// tls shows the certificate whatever authorities the server asks for.
func (g *guarded) tls(certs ...tls.Certificate) *tls.Config {
	cfg := &tls.Config{RootCAs: g.roots, ServerName: "127.0.0.1", ClientSessionCache: tls.NewLRUClientSessionCache(4)}
	if len(certs) > 0 {
		cfg.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &certs[0], nil }
	}
	return cfg
}

func kindOf(t *testing.T, err error) job.Kind {
	t.Helper()
	var problem *client.Problem
	require.ErrorAs(t, err, &problem)
	return problem.Kind()
}

func TestARegisteredCertificateIsAKey(t *testing.T) {
	t.Parallel()
	g := newGuarded(t)
	alice, _, _ := issue(t, g.dir, "alice", &g.authority)
	_, err := g.as("", alice).Voices(t.Context())
	require.Equal(t, job.Unauthorized, kindOf(t, err), "an authority that is trusted lets nobody in")
	require.ErrorContains(t, err, "not registered")

	k, err := g.as(g.key, alice).RegisterCertificate(t.Context(), "alice", []string{"jobs:read"})
	require.NoError(t, err)
	require.Empty(t, k.Secret)
	c := g.as("", alice)
	page, err := c.Jobs(t.Context(), client.ListOptions{})
	require.NoError(t, err)
	require.Empty(t, page.Items)
	_, err = c.Submit(t.Context(), &job.Spec{Input: job.Input{Text: "x"}}, client.SubmitOptions{})
	require.Equal(t, job.Forbidden, kindOf(t, err), "it has the scopes of its key")
	id := g.submitted(hello)
	for range 2 { // from the database, then from memory
		d, err := c.Job(t.Context(), id)
		require.NoError(t, err, "it belongs to the tenant of its key")
		require.Equal(t, id, d.ID)
	}
	_, err = g.as("vm_0123456789abcdefghjkmnpqrs", alice).Voices(t.Context())
	require.Equal(t, job.Unauthorized, kindOf(t, err), "a key that is sent counts instead")
	require.Equal(t, http.StatusUnauthorized, g.call("GET", "/v1/voices", "", "Authorization", "").Status, "without TLS there is no certificate")

	require.NoError(t, g.as(g.key).RevokeKey(t.Context(), k.ID))
	_, err = c.Job(t.Context(), id)
	require.Equal(t, job.Unauthorized, kindOf(t, err), "revoked, also on a connection that is open")
	_, err = g.as("", alice).Voices(t.Context())
	require.Equal(t, job.Unauthorized, kindOf(t, err))
	_, err = g.as(g.key, alice).RegisterCertificate(t.Context(), "alice", []string{"jobs:read"})
	require.Equal(t, job.Conflict, kindOf(t, err), "what was revoked stays so")
}

func TestOnlyItsHolderRegistersACertificate(t *testing.T) {
	t.Parallel()
	g := newGuarded(t)
	alice, _, _ := issue(t, g.dir, "alice", &g.authority)
	stranger, _, _ := issue(t, g.dir, "stranger", nil)
	_, err := g.as(g.key).RegisterCertificate(t.Context(), "nobody", []string{"jobs:read"})
	require.Equal(t, job.Invalid, kindOf(t, err))
	require.Equal(t, http.StatusUnprocessableEntity, g.call("POST", "/v1/keys", `{"scopes":["admin"],"certificate":true}`).Status)
	_, err = g.as(g.key, stranger).RegisterCertificate(t.Context(), "stranger", []string{"jobs:read"})
	require.Error(t, err, "of another authority: no handshake")
	var problem *client.Problem
	require.NotErrorAs(t, err, &problem)
	_, err = g.as(g.newKey(tenant, "jobs:write"), alice).RegisterCertificate(t.Context(), "alice", []string{"admin"})
	require.Equal(t, job.Forbidden, kindOf(t, err), "it takes an administrator")

	_, err = g.as(g.key, alice).RegisterCertificate(t.Context(), "alice", []string{"jobs:read"})
	require.NoError(t, err)
	_, err = g.as(g.other, alice).RegisterCertificate(t.Context(), "alice", []string{"jobs:read"})
	require.Equal(t, job.Conflict, kindOf(t, err), "it is of one tenant")
	keys, err := g.as(g.key).Keys(t.Context(), 0, "")
	require.NoError(t, err)
	require.Equal(t, "alice", keys.Items[0].Name)
	require.True(t, keys.Items[0].Certificate, "the list tells certificates from secrets")
	require.False(t, keys.Items[len(keys.Items)-1].Certificate)
}

func TestACertificateOpensSessionsOfEveryKind(t *testing.T) {
	t.Parallel()
	g := newGuarded(t)
	alice, _, _ := issue(t, g.dir, "alice", &g.authority)
	_, err := g.as(g.key, alice).RegisterCertificate(t.Context(), "alice", []string{"jobs:read", "jobs:write"})
	require.NoError(t, err)

	c, err := frames.Dial(t.Context(), frames.Config{Address: g.address(), TLS: g.tls(alice)})
	require.NoError(t, err)
	d, err := c.Submit(t.Context(), &job.Spec{Input: job.Input{Text: "By certificate."}}, frames.SubmitOptions{})
	require.NoError(t, err)
	require.NoError(t, c.Close())
	bob, _, _ := issue(t, g.dir, "bob", &g.authority)
	_, err = frames.Dial(t.Context(), frames.Config{Address: g.address(), TLS: g.tls(bob)})
	require.Equal(t, job.Unauthorized, kindOf(t, err))

	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	tr := &http.Transport{TLSClientConfig: g.tls(alice)}
	defer tr.CloseIdleConnections()
	s, resp, err := websocket.Dial(ctx, "wss://"+g.address()+"/v1/connect", &websocket.DialOptions{ //nolint:bodyclose // a 101 has none
		Subprotocols: []string{"voicemill.v1.json"}, HTTPClient: &http.Client{Transport: g.checked(tr)},
	})
	require.NoError(t, err)
	require.Equal(t, http.StatusSwitchingProtocols, resp.StatusCode)
	require.NoError(t, s.Write(ctx, websocket.MessageText, []byte(`{"stream":1,"get":{"id":"`+string(d.ID)+`"}}`)))
	_, _, err = s.Read(ctx) // hello
	require.NoError(t, err)
	_, raw, err := s.Read(ctx)
	require.NoError(t, err)
	require.Equal(t, d.ID, g.understand(raw).Job.ID)
	require.NoError(t, s.Close(websocket.StatusNormalClosure, ""))
	require.NoError(t, g.stop())
	require.Contains(t, g.log.String(), `"key_id":"key_`)
}

// A browser shows the certificate of its user for whatever page asks it to.
func TestAForeignPageMayNotUseTheCertificateOfItsVisitor(t *testing.T) {
	t.Parallel()
	const app = "https://app.example"
	g := newGuarded(t, app, "*")
	alice, _, _ := issue(t, g.dir, "alice", &g.authority)
	_, err := g.as(g.key, alice).RegisterCertificate(t.Context(), "alice", []string{"jobs:read", "jobs:write"})
	require.NoError(t, err)
	id := string(g.submitted(hello))
	tr := &http.Transport{TLSClientConfig: g.tls(alice)}
	defer tr.CloseIdleConnections()
	c := &http.Client{Transport: g.checked(tr)}
	call := func(method, path, origin string, header ...string) answer {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), method, "https://"+g.address()+path, http.NoBody)
		require.NoError(t, err)
		for i := 0; i < len(header); i += 2 {
			req.Header.Set(header[i], header[i+1])
		}
		if origin != "" {
			req.Header.Set("Origin", origin)
		}
		resp, err := c.Do(req)
		require.NoError(t, err)
		defer func() { _ = resp.Body.Close() }()
		raw, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		return answer{Status: resp.StatusCode, Header: resp.Header, Body: raw}
	}
	connect := func(origin string) int {
		t.Helper()
		s, resp, err := websocket.Dial(t.Context(), "wss://"+g.address()+"/v1/connect", &websocket.DialOptions{ //nolint:bodyclose // the library has read it
			HTTPHeader: http.Header{"Origin": {origin}}, HTTPClient: c,
		})
		require.NotNil(t, resp, "%v", err)
		if err == nil {
			require.NoError(t, s.CloseNow())
		}
		return resp.StatusCode
	}
	own := "https://" + g.address()
	for _, origin := range []string{"https://evil.example", "null", "http://" + g.address(), own + ".evil.example", "https://127.0.0.1:1", "https://app.example:8443", "https://"} {
		require.Equal(t, http.StatusForbidden, connect(origin), origin)
		a := call("POST", "/v1/jobs/"+id+"/cancel", origin)
		require.Equal(t, http.StatusForbidden, a.Status, origin)
		require.Equal(t, "/problems/origin-not-allowed", a.problem(t).Type)
		require.Equal(t, http.StatusForbidden, call("GET", "/v1/jobs/"+id, origin).Status, "from memory neither")
	}
	require.Equal(t, http.StatusOK, call("GET", "/v1/jobs/"+id, "https://evil.example", "Authorization", "Bearer "+g.key).Status, "a key that the page has is its own")
	require.Equal(t, "accepted", string(g.call("GET", "/v1/jobs/"+id, "").job(t).State), "nobody has cancelled it")
	for _, origin := range []string{own, app} {
		require.Equal(t, http.StatusSwitchingProtocols, connect(origin), origin)
		require.Equal(t, http.StatusOK, call("GET", "/v1/jobs/"+id, origin).Status, origin)
	}
	require.Equal(t, http.StatusOK, call("GET", "/v1/jobs/"+id, "").Status, "no page")
	require.Equal(t, http.StatusOK, call("POST", "/v1/jobs/"+id+"/cancel", app).Status)
}
