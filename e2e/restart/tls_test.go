package restart_test

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/e2e/internal/stage"
	"github.com/voicemill/voicemill/platform/testkit"
)

// It has no file with ticket keys: they go from process to process.
func TestANewProcessResumesTheSessionsOfTheOld(t *testing.T) {
	cert, certFile, keyFile := testkit.Certificate(t, t.TempDir(), "gateway", nil)
	s, n := stage.New(t, bin, "VOICEMILL_TLS_CERT="+certFile, "VOICEMILL_TLS_KEY="+keyFile), size(t)
	pool := x509.NewCertPool()
	pool.AddCert(cert.Leaf)
	secure := &tls.Config{RootCAs: pool, ServerName: "gateway"}
	session := secure.Clone()
	session.ClientSessionCache = tls.NewLRUClientSessionCache(1)
	l := start(t, s, n, false, secure)
	require.False(t, resumes(t, l, session))
	for range 2 { // also from a process that got its keys itself
		l.goOn(t, n.rate)
		replace(t, s, l, n)
		require.True(t, resumes(t, l, session))
	}
	l.stop()
	report(t, l, n, "twice a new process took over, with TLS")
	require.Empty(t, l.severed)
}

// resumes asks on a new connection and reports whether that went on with a
// session from before.
func resumes(t *testing.T, l *load, cfg *tls.Config) bool {
	t.Helper()
	c, err := (&tls.Dialer{Config: cfg}).DialContext(t.Context(), "tcp", l.address)
	require.NoError(t, err)
	defer func() { _ = c.Close() }()
	ask(t, l.url, l.key, c, bufio.NewReader(c))
	return c.(*tls.Conn).ConnectionState().DidResume
}
