package fault_test

import (
	"context"
	"fmt"
	"net"
	"net/http/httptest"
	"os"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/e2e/internal/stage"
	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/platform/config"
	"github.com/voicemill/voicemill/platform/pg"
	"github.com/voicemill/voicemill/platform/testkit"
)

const (
	fewRounds = 2               // of every fault, without VOICEMILL_FAULT_ROUNDS
	takeover  = 5 * time.Second // of the lease
	first     = "scheduler-first"
	second    = "scheduler-second"
)

// election is a stage with two schedulers. The first reaches Postgres and NATS
// over wires that can be cut.
type election struct {
	*stage.Stage
	db             *pg.Pool
	postgres, nats *wire
}

func newElection(t *testing.T) *election {
	t.Helper()
	s := stage.New(t, bin)
	s.Away(stage.Scheduler)
	e := &election{Stage: s}
	dsn := s.Setting("VOICEMILL_DB_DSN")
	var err error
	e.db, err = pg.Connect(t.Context(), pg.Config{DSN: config.NewSecret(dsn)}, testkit.Log(t))
	require.NoError(t, err)
	t.Cleanup(e.db.Close)
	socket := regexp.MustCompile(`host='([^']*)' port=(\d+)`)
	at := socket.FindStringSubmatch(dsn)
	require.NotNil(t, at)
	e.postgres = newWire(t, "unix", at[1]+"/.s.PGSQL."+at[2])
	e.nats = newWire(t, "tcp", strings.TrimPrefix(s.Setting("VOICEMILL_BUS_URL"), "nats://"))
	s.Another(t, stage.Scheduler, first,
		"VOICEMILL_DB_DSN="+socket.ReplaceAllString(dsn, fmt.Sprintf("host=127.0.0.1 port=%d", e.postgres.port())),
		fmt.Sprintf("VOICEMILL_BUS_URL=nats://127.0.0.1:%d", e.nats.port()))
	e.await(t, 0, time.Minute)
	s.Another(t, stage.Scheduler, second)
	return e
}

// epoch returns the term of the leader.
func (e *election) epoch(t *testing.T) (n int64) {
	t.Helper()
	require.NoError(t, e.db.QueryRow(t.Context(), `select coalesce(max(epoch), 0) from leases where name = 'scheduler'`).Scan(&n))
	return n
}

// await waits until another term than the given one has begun, and returns how long that took.
func (e *election) await(t *testing.T, epoch int64, limit time.Duration) time.Duration {
	t.Helper()
	begin := time.Now()
	require.Eventually(t, func() bool { return e.epoch(t) > epoch }, limit, 10*time.Millisecond)
	return time.Since(begin)
}

// reinstate makes the first lead again and the second stand by.
func (e *election) reinstate(t *testing.T) {
	t.Helper()
	now := e.epoch(t)
	require.NoError(t, e.Stop(second))
	e.await(t, now, time.Minute)
	require.NoError(t, e.Start(t.Context(), second))
}

func TestALeaderThatFailsIsReplacedInSeconds(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Minute)
	defer cancel()
	rounds := faultRounds(t)
	box := &inbox{got: map[string]map[string]int{}}
	receiver := httptest.NewServer(box)
	t.Cleanup(receiver.Close)
	e := newElection(t)
	c := newClient(t, e.Stage)
	stop, finish := startLoad(ctx, t, c, receiver.URL)
	freeze := func() error { return e.Freeze(first) }
	slowest := map[string]time.Duration{}
	for round := range rounds {
		for _, fault := range []struct {
			name       string
			harm, mend func() error
		}{
			{"killed", func() error { e.Kill(first); return nil }, func() error { return e.Start(ctx, first) }},
			{"hung", freeze, func() error { e.Kill(first); return e.Start(ctx, first) }},
			{"paused", freeze, func() error { return e.Thaw(first) }},
			{"cut from Postgres", e.postgres.cut, e.postgres.mend},
			{"cut from NATS", e.nats.drop, e.nats.mend},
		} {
			now := e.epoch(t)
			require.NoError(t, fault.harm())
			took := e.await(t, now, time.Minute)
			t.Logf("round %d, %s: another leads after %s", round, fault.name, took.Round(10*time.Millisecond))
			slowest[fault.name] = max(slowest[fault.name], took.Round(10*time.Millisecond))
			require.Less(t, took, takeover, fault.name)
			require.NoError(t, fault.mend())
			e.reinstate(t)
		}
	}
	stop()
	ids := finish()
	for _, id := range ids {
		doc, err := c.await(ctx, id)
		require.NoError(t, err)
		require.Equal(t, job.StateSucceeded, doc.State, "%s: %+v", id, doc.Error)
		require.Equal(t, doc.Progress.Segments.Total, doc.Progress.Segments.Done+doc.Progress.Segments.Reused)
		requireOneCallback(ctx, t, box, id)
	}
	require.Equal(t, len(ids), countJobs(ctx, t, c), "jobs were doubled")
	t.Logf("%d jobs succeeded; the slowest takeovers of %d rounds: %v", len(ids), rounds, slowest)
}

// faultRounds is how often each fault is caused.
func faultRounds(t *testing.T) int {
	t.Helper()
	v := os.Getenv("VOICEMILL_FAULT_ROUNDS")
	if v == "" {
		return fewRounds
	}
	rounds, err := strconv.Atoi(v)
	require.NoError(t, err)
	return rounds
}

// startLoad submits jobs until stop is called; finish returns their ids.
func startLoad(ctx context.Context, t *testing.T, c *client, callback string) (stop func(), finish func() []string) {
	t.Helper()
	load, stop := context.WithCancel(ctx)
	var ids []string
	var failed error
	var all sync.WaitGroup
	all.Go(func() {
		tick := time.NewTicker(250 * time.Millisecond)
		defer tick.Stop()
		for i := 0; failed == nil; i++ {
			select {
			case <-load.Done():
				return
			case <-tick.C:
			}
			spec := specs(callback)[i%jobCount]
			doc, err := c.submit(ctx, fmt.Sprintf("leader-%d", i), spec)
			if failed = err; err == nil {
				ids = append(ids, string(doc.ID))
			}
		}
	})
	t.Cleanup(func() { stop(); all.Wait() })
	return stop, func() []string {
		all.Wait()
		require.NoError(t, failed)
		return ids
	}
}

// wire carries connections to an address until it is cut.
type wire struct {
	listener *net.TCPListener
	network  string
	address  string
	all      sync.WaitGroup

	mu    sync.Mutex // guards conns and down; held for as long as the wire is cut without anybody being told
	conns map[net.Conn]bool
	down  bool
}

func newWire(t *testing.T, network, address string) *wire {
	t.Helper()
	l, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	require.NoError(t, err)
	w := &wire{listener: l, network: network, address: address, conns: map[net.Conn]bool{}}
	w.all.Go(w.accept)
	t.Cleanup(func() {
		_ = l.Close()
		w.close(true)
		w.all.Wait()
	})
	return w
}

func (w *wire) port() int { return w.listener.Addr().(*net.TCPAddr).Port } //nolint:forcetypeassert // of a TCP listener

// cut stops what travels; nobody is told.
func (w *wire) cut() error { w.mu.Lock(); return nil }

// drop closes every connection and refuses new ones.
func (w *wire) drop() error {
	w.close(true)
	w.mu.Lock()
	return nil
}

// mend lets everything through again.
func (w *wire) mend() error {
	w.down = false
	w.mu.Unlock()
	return nil
}

func (w *wire) close(down bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.down = down
	for c := range w.conns {
		_ = c.Close()
	}
}

func (w *wire) accept() {
	for {
		in, err := w.listener.Accept()
		if err != nil {
			return
		}
		out, err := net.Dial(w.network, w.address) //nolint:noctx // a local socket
		if err != nil {
			_ = in.Close()
			continue
		}
		w.mu.Lock()
		down := w.down
		w.conns[in], w.conns[out] = true, true
		w.mu.Unlock()
		if down {
			_, _ = in.Close(), out.Close()
		}
		w.all.Go(func() { w.carry(out, in) })
		w.all.Go(func() { w.carry(in, out) })
	}
}

func (w *wire) carry(to, from net.Conn) {
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		w.mu.Lock() // waits while the wire is cut
		if err != nil {
			delete(w.conns, from)
		}
		w.mu.Unlock()
		if n > 0 {
			_, _ = to.Write(buf[:n]) // a lost connection shows on its other end
		}
		if err != nil {
			_, _ = to.Close(), from.Close()
			return
		}
	}
}
