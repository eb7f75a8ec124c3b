package bus_test

import (
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/platform/bus"
	"github.com/voicemill/voicemill/platform/testkit"
)

// accounts lets the clients' account ask the servers of themselves.
const accounts = `
system_account: SYS
no_auth_user: voicemill
accounts {
  SYS { exports: [{ service: "$SYS.REQ.SERVER.PING.JSZ", response: stream, accounts: [APP] }] }
  APP {
    jetstream: enabled
    users: [{ user: voicemill, password: secret }]
    imports: [{ service: { account: SYS, subject: "$SYS.REQ.SERVER.PING.JSZ" } }]
  }
}`

// node is the settings of one server; extra are further lines.
func node(t *testing.T, name, listen, sync, extra string) *server.Options {
	t.Helper()
	file := filepath.Join(t.TempDir(), name+".conf")
	require.NoError(t, os.WriteFile(file, fmt.Appendf(nil, "server_name: %s\nlisten: %q\nmax_payload: 2MB\n"+
		"jetstream { store_dir: %q, sync_interval: %s, max_file_store: 4GB, max_memory_store: 1GB }\n%s\n",
		name, listen, t.TempDir(), sync, extra), 0o600))
	opts, err := server.ProcessConfigFile(file)
	require.NoError(t, err)
	opts.NoSigs, opts.NoLog = true, true
	return opts
}

// launch starts a server and does not wait for it. It returns its URL.
func launch(t *testing.T, opts *server.Options) string {
	t.Helper()
	s, err := server.NewServer(opts)
	require.NoError(t, err)
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	s.Start()
	return fmt.Sprintf("nats://%s:%d", opts.Host, opts.Port)
}

// startCluster starts a server for each sync interval, side by side, and does not
// wait for them to find each other. It returns the URLs of all, for clients.
func startCluster(t *testing.T, sync ...string) string {
	t.Helper()
	routes, urls := make([]string, len(sync)), make([]string, len(sync))
	for i := range routes {
		routes[i] = freeAddr(t)
	}
	for i, s := range sync {
		urls[i] = launch(t, node(t, fmt.Sprintf("n%d", i+1), freeAddr(t), s, accounts+
			fmt.Sprintf("\ncluster { name: test, listen: %q, no_advertise: true, routes: [nats://%s] }", routes[i], strings.Join(routes, ", nats://"))))
	}
	return strings.Join(urls, ",")
}

// freeAddr returns a loopback address that was free a moment ago, below the
// ports that the kernel gives to whoever dials.
func freeAddr(t *testing.T) string {
	t.Helper()
	for {
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", 10_000+rand.IntN(20_000))) //nolint:noctx // closed at once
		if err == nil {
			require.NoError(t, l.Close())
			return l.Addr().String()
		}
	}
}

// setUp is what a service does at its start.
func setUp(t *testing.T, cfg bus.Config) error {
	t.Helper()
	b, err := bus.Connect(t.Context(), cfg, testkit.Log(t))
	if err != nil {
		return err
	}
	defer b.Close()
	return b.Setup(t.Context())
}

func replicas(t *testing.T, urls string) (all []int) {
	t.Helper()
	nc, err := nats.Connect(urls)
	require.NoError(t, err)
	defer nc.Close()
	js, err := jetstream.New(nc)
	require.NoError(t, err)
	for _, name := range []string{bus.StreamJobs, bus.StreamWork} {
		s, err := js.Stream(t.Context(), name)
		require.NoError(t, err)
		all = append(all, s.CachedInfo().Config.Replicas)
	}
	return all
}

func TestServicesStartTogetherOnAFreshCluster(t *testing.T) {
	t.Parallel()
	urls := startCluster(t, "always", "always", "always")
	began := time.Now()
	errs := make(chan error, 5)
	for range cap(errs) {
		go func() { errs <- setUp(t, bus.Config{URL: urls}) }()
	}
	for range cap(errs) {
		require.NoError(t, <-errs)
	}
	t.Logf("all were set up after %s", time.Since(began))
	require.Less(t, time.Since(began), 40*time.Second, "one request without an answer takes no more than its try")
	require.Equal(t, []int{3, 3}, replicas(t, urls), "three servers hold three copies")
}

func TestAProcessWithDefaultsLowersNoReplicas(t *testing.T) {
	t.Parallel()
	urls := startCluster(t, "always", "always", "always")
	require.NoError(t, setUp(t, bus.Config{URL: urls, Replicas: 3}))
	require.NoError(t, setUp(t, bus.Config{URL: urls}))
	require.Equal(t, []int{3, 3}, replicas(t, urls))
}

func TestReplicasAreRaisedOnceTheClusterIsLargeEnough(t *testing.T) {
	t.Parallel()
	urls := startCluster(t, "always", "always", "always")
	require.NoError(t, setUp(t, bus.Config{URL: urls, Replicas: 1}), "an operator's word counts")
	require.Equal(t, []int{1, 1}, replicas(t, urls))
	require.NoError(t, setUp(t, bus.Config{URL: urls}))
	require.Equal(t, []int{3, 3}, replicas(t, urls))
}
