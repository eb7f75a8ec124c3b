package bus_test

import (
	"context"
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

	"github.com/voicemill/voicemill/job"
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

// clusterOf is the settings of a server for each sync interval, and their URLs.
func clusterOf(t *testing.T, sync ...string) (nodes []*server.Options, urls string) {
	t.Helper()
	routes, all := make([]string, len(sync)), make([]string, len(sync))
	for i := range routes {
		routes[i] = freeAddr(t)
	}
	for i, s := range sync {
		nodes = append(nodes, node(t, fmt.Sprintf("n%d", i+1), freeAddr(t), s, accounts+
			fmt.Sprintf("\ncluster { name: test, listen: %q, no_advertise: true, routes: [nats://%s] }", routes[i], strings.Join(routes, ", nats://"))))
		all[i] = fmt.Sprintf("nats://%s:%d", nodes[i].Host, nodes[i].Port)
	}
	return nodes, strings.Join(all, ",")
}

// startCluster starts a server for each sync interval, side by side, and does not
// wait for them to find each other. It returns the URLs of all, for clients.
func startCluster(t *testing.T, sync ...string) string {
	t.Helper()
	nodes, urls := clusterOf(t, sync...)
	for _, opts := range nodes {
		launch(t, opts)
	}
	return urls
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

// A cluster whose servers all ended keeps WORK with nothing in it, and where it
// began to count: what was in hand before must end nothing that came after.
func TestAClusterThatEndedAsAWholeCountsOn(t *testing.T) {
	t.Parallel()
	nodes, urls := clusterOf(t, "always", "always", "always")
	var servers []*server.Server
	start := func() {
		servers = nil
		for _, opts := range nodes {
			s, err := server.NewServer(opts.Clone())
			require.NoError(t, err)
			s.Start()
			servers = append(servers, s)
		}
	}
	stop := func() {
		for _, s := range servers {
			s.Shutdown()
			s.WaitForShutdown()
		}
	}
	start()
	t.Cleanup(func() { stop() })
	b, err := bus.Connect(t.Context(), bus.Config{URL: urls}, testkit.Log(t))
	require.NoError(t, err)
	t.Cleanup(b.Close)
	require.NoError(t, b.Setup(t.Context()))
	fill := func() (got []bus.Delivery[bus.Bundle]) {
		require.Eventually(t, func() bool { return publishAll(t.Context(), b, bundles(3)) == nil }, time.Minute, 100*time.Millisecond)
		require.Eventually(t, func() bool {
			more, _ := b.FetchWork(t.Context(), "espeak", job.Bulk, 3, time.Second) // a leader may be missing
			got = append(got, more...)
			return len(got) >= 3
		}, time.Minute, 10*time.Millisecond)
		return got
	}
	old := fill()
	before, err := b.MarkWork(t.Context())
	require.NoError(t, err)

	stop()
	start()
	var after bus.Mark
	require.Eventually(t, func() bool {
		after, err = b.MarkWork(t.Context())
		return err == nil
	}, time.Minute, 100*time.Millisecond)
	require.True(t, after.LostSince(before))
	require.True(t, after.Empty())
	require.Eventually(t, func() bool { _, err = b.RenewWork(t.Context()); return err == nil }, time.Minute, 100*time.Millisecond)
	fill()
	for _, d := range old {
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		_ = d.Ack(ctx) // nobody has it
		cancel()
	}
	pending, held, err := b.WorkPending(t.Context(), "espeak", job.Bulk)
	require.NoError(t, err)
	require.Equal(t, []int{0, 3}, []int{pending, held}, "nobody but its receiver ends a message")
}
