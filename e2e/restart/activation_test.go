package restart_test

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/e2e/internal/stage"
	"github.com/voicemill/voicemill/platform/testkit"
)

const patience = time.Minute // for a start on a busy machine

func TestSocketsOfSystemdServeWhoConnectedBeforeTheStart(t *testing.T) {
	s := stage.New(t, bin)
	for name, names := range map[string][]string{
		"both named": {"admin", "gateway"}, "one with the name of its unit": {"gateway.socket"}, "one without a name": {""},
	} {
		t.Run(name, func(t *testing.T) {
			var files []*os.File
			var addresses []string
			for range names {
				address, file := socket(t)
				addresses, files = append(addresses, address), append(files, file)
			}
			c, err := new(net.Dialer).DialContext(t.Context(), "tcp", addresses[len(names)-1])
			require.NoError(t, err)
			defer func() { _ = c.Close() }()
			require.NoError(t, c.SetDeadline(time.Now().Add(patience)))
			activate(t, s, names, files)
			ask(t, "http://gateway", s.Key, c, bufio.NewReader(c))
			if len(names) > 1 {
				req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+addresses[0]+"/healthz", http.NoBody)
				require.NoError(t, err)
				resp, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: patience}).Do(req)
				require.NoError(t, err)
				require.NoError(t, resp.Body.Close())
				require.Equal(t, http.StatusOK, resp.StatusCode)
			}
		})
	}
}

// socket listens, as systemd does for a unit that has not been started.
func socket(t *testing.T) (address string, file *os.File) {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	file, err = l.(*net.TCPListener).File()
	require.NoError(t, err)
	t.Cleanup(func() { _ = file.Close() })
	require.NoError(t, l.Close())
	return l.Addr().String(), file
}

// activate starts another gateway beside the one of the stage, with sockets as
// systemd passes them. It is configured to listen where that one does, so it
// could not serve with sockets of its own.
func activate(t *testing.T, s *stage.Stage, names []string, sockets []*os.File) {
	t.Helper()
	cmd := s.Command(stage.Gateway)
	cmd.Args = []string{"sh", "-c", `LISTEN_PID=$$; export LISTEN_PID; exec "$0"`, cmd.Path}
	cmd.Path = "/bin/sh"
	cmd.ExtraFiles = sockets
	cmd.Env = append(cmd.Env, "LISTEN_FDS="+strconv.Itoa(len(sockets)), "VOICEMILL_PID_FILE="+filepath.Join(t.TempDir(), "pid"))
	if list := strings.Join(names, ":"); list != "" {
		cmd.Env = append(cmd.Env, "LISTEN_FDNAMES="+list)
	}
	if len(sockets) == 1 {
		cmd.Env = append(cmd.Env, "VOICEMILL_ADMIN=127.0.0.1:0")
	}
	log, err := os.Create(filepath.Join(t.TempDir(), "log"))
	require.NoError(t, err)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		if err := cmd.Wait(); err != nil {
			t.Error(err)
		}
		if b, _ := os.ReadFile(log.Name()); t.Failed() {
			t.Logf("log of the gateway:\n%s", b)
		}
		_ = log.Close()
	})
}

// The new files have the size and the time of the old ones: the gateway, which
// looks at them every 30 seconds, does not change the certificate by itself.
func TestSIGHUPChangesTheCertificateOfNewConnections(t *testing.T) {
	first, certFile, keyFile := testkit.Certificate(t, t.TempDir(), "gateway", nil)
	s := stage.New(t, bin, "VOICEMILL_TLS_CERT="+certFile, "VOICEMILL_TLS_KEY="+keyFile)
	address, url := strings.TrimPrefix(s.URL, "http://"), strings.Replace(s.URL, "http:", "https:", 1)
	pool := x509.NewCertPool()
	pool.AddCert(first.Leaf)
	dialer := &tls.Dialer{Config: &tls.Config{RootCAs: pool, ServerName: "gateway"}}
	old, err := dialer.DialContext(t.Context(), "tcp", address)
	require.NoError(t, err)
	defer func() { _ = old.Close() }()
	answers := bufio.NewReader(old)
	ask(t, url, s.Key, old, answers)

	second := renew(t, certFile, keyFile)
	pool.AddCert(second.Leaf)
	require.NoError(t, syscall.Kill(s.PID(stage.Gateway), syscall.SIGHUP))
	require.Eventually(t, func() bool {
		c, err := dialer.DialContext(t.Context(), "tcp", address)
		if err != nil {
			return false
		}
		defer func() { _ = c.Close() }()
		return c.(*tls.Conn).ConnectionState().PeerCertificates[0].Equal(second.Leaf)
	}, patience, beat)
	ask(t, url, s.Key, old, answers)
}

// renew puts another certificate into the files, which look as before.
func renew(t *testing.T, certFile, keyFile string) tls.Certificate {
	t.Helper()
	state := func(name string) os.FileInfo {
		info, err := os.Stat(name)
		require.NoError(t, err)
		return info
	}
	cert, key := state(certFile), state(keyFile)
	fresh := t.TempDir()
	for range 1000 { // the length of a signature varies by some bytes
		second, newCert, newKey := testkit.Certificate(t, fresh, "gateway", nil)
		if state(newCert).Size() != cert.Size() || state(newKey).Size() != key.Size() {
			continue
		}
		require.NoError(t, os.Chtimes(newCert, cert.ModTime(), cert.ModTime()))
		require.NoError(t, os.Chtimes(newKey, key.ModTime(), key.ModTime()))
		require.NoError(t, os.Rename(newKey, keyFile))
		require.NoError(t, os.Rename(newCert, certFile))
		return second
	}
	t.Fatal("no certificate is as long as the first")
	return tls.Certificate{}
}
