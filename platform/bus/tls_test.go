package bus_test

import (
	"crypto/tls"
	"crypto/x509"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/platform/bus"
	"github.com/voicemill/voicemill/platform/testkit"
)

func TestNATSIsSpokenToWithAClientCertificate(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	authority, caFile, _ := testkit.Certificate(t, dir, "authority", nil)
	cert, _, _ := testkit.Certificate(t, dir, "nats.test", &authority)
	_, certFile, keyFile := testkit.Certificate(t, dir, "gateway.test", &authority)
	trusted := x509.NewCertPool()
	trusted.AddCert(authority.Leaf)
	ns, err := server.NewServer(&server.Options{
		Host: "127.0.0.1", Port: -1, JetStream: true, StoreDir: dir, SyncAlways: true, NoSigs: true, NoLog: true, TLSTimeout: 5,
		TLSConfig: &tls.Config{
			Certificates: []tls.Certificate{cert}, ClientCAs: trusted, ClientAuth: tls.RequireAndVerifyClientCert, MinVersion: tls.VersionTLS12,
		},
	})
	require.NoError(t, err)
	ns.Start()
	defer func() { ns.Shutdown(); ns.WaitForShutdown() }()
	require.True(t, ns.ReadyForConnections(20*time.Second))

	cfg := bus.Config{URL: "tls://" + ns.Addr().String(), CA: caFile, Cert: certFile, CertKey: keyFile}
	b, err := bus.Connect(t.Context(), cfg, testkit.Log(t))
	require.NoError(t, err)
	b.Close()

	cfg.Cert, cfg.CertKey, cfg.ConnectWait = "", "", time.Second
	_, err = bus.Connect(t.Context(), cfg, testkit.Log(t))
	require.Error(t, err, "a stranger is not let in")
	cfg.Cert = certFile
	_, err = bus.Connect(t.Context(), cfg, testkit.Log(t))
	require.ErrorContains(t, err, "cert-key")
}
