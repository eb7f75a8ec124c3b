package streams_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// The environment that makes the test binary ask for a job's status, so that
// the client that measures does nothing else.
const (
	probeURL = "VOICEMILL_STREAMS_PROBE"
	probeKey = "VOICEMILL_STREAMS_KEY"
	probeRef = "VOICEMILL_STREAMS_YARDSTICK" // the address of the yardstick
	yardEnv  = "VOICEMILL_STREAMS_SERVE"     // makes the test binary the yardstick
)

const (
	probeClients = 2
	probeEvery   = 4 * time.Millisecond

	// window is for how long requests are taken together: about 1,000 of them, so
	// that a hundredth is ten.
	window = 2 * time.Second

	yardstickBytes = 600 // about a status
)

// measured is what a probe found at one server: how long requests took, window by
// window.
type measured struct {
	Requests int             `json:"requests"`
	Failed   int             `json:"failed"`
	P50      []time.Duration `json:"p50"`
	P99      []time.Duration `json:"p99"`
}

// and is m with what was found another time.
func (m measured) and(n measured) measured {
	return measured{m.Requests + n.Requests, m.Failed + n.Failed, slices.Concat(m.P50, n.P50), slices.Concat(m.P99, n.P99)}
}

// middle is the middle window's: on a machine that others use too, a part of the
// windows says what they did.
func middle(windows []time.Duration) time.Duration {
	if len(windows) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(windows))
	return sorted[len(sorted)/2]
}

func (m measured) String() string {
	return fmt.Sprintf("p50 %s, p99 %s in the middle of %d windows, %d requests",
		middle(m.P50).Round(time.Microsecond), middle(m.P99).Round(time.Microsecond), len(m.P99), m.Requests)
}

// both is what a probe found at the gateway and, between the same requests, at
// the yardstick: a server that carries no bodies, so that what it takes longer
// meanwhile is the machine's doing, which the clients, the relay and the bucket
// keep busy.
type both struct {
	Status    measured `json:"status"`
	Yardstick measured `json:"yardstick"`
}

// and is b with what was found another time.
func (b both) and(c both) both { return both{b.Status.and(c.Status), b.Yardstick.and(c.Yardstick)} }

// times is how much longer the slowest of a hundred took than in base.
func (m measured) times(base measured) float64 {
	return float64(middle(m.P99)) / float64(max(middle(base.P99), 1))
}

// probe asks until its standard input ends, then says what it found.
func probe(url, key, yardstick string) int {
	ctx, stop := context.WithCancel(context.Background())
	go func() { _, _ = io.Copy(io.Discard, os.Stdin); stop() }()
	var found both
	var sides sync.WaitGroup
	sides.Go(func() { found.Status = sample(ctx, url, key) })
	sides.Go(func() { found.Yardstick = sample(ctx, yardstick, key) })
	sides.Wait()
	if err := json.NewEncoder(os.Stdout).Encode(found); err != nil {
		return 1
	}
	return 0
}

// sample asks one server until ctx is done.
func sample(ctx context.Context, url, key string) measured {
	var mu sync.Mutex
	var all []time.Duration // of this window
	var m measured
	turn := func() { // with mu held
		slices.Sort(all)
		m.P50, m.P99 = append(m.P50, all[len(all)/2]), append(m.P99, all[len(all)*99/100])
		all = all[:0]
	}
	first := time.Now()
	var clients sync.WaitGroup
	for range probeClients {
		clients.Go(func() {
			c := http.Client{Transport: &http.Transport{}}
			tick := time.NewTicker(probeEvery)
			defer tick.Stop()
			for {
				select {
				case <-ctx.Done():
					return
				case <-tick.C:
				}
				begin := time.Now()
				ok := ask(&c, url, key)
				took := time.Since(begin)
				mu.Lock()
				all = append(all, took)
				m.Requests++
				if !ok {
					m.Failed++
				}
				if time.Since(first) > time.Duration(len(m.P99)+1)*window {
					turn()
				}
				mu.Unlock()
			}
		})
	}
	clients.Wait()
	if len(m.P99) == 0 && len(all) > 0 { // it was asked for less than a window
		turn()
	}
	return m
}

// serveYardstick answers every request with about as much as a status has, until
// its standard input ends. It says where.
func serveYardstick() int {
	ln, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // the process ends with the test
	if err != nil {
		return 1
	}
	answer := bytes.Repeat([]byte("x"), yardstickBytes)
	s := http.Server{
		ReadHeaderTimeout: time.Minute,
		Handler:           http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(answer) }),
	}
	go func() { _, _ = io.Copy(io.Discard, os.Stdin); _ = s.Close() }()
	fmt.Println("http://" + ln.Addr().String())
	if err := s.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
		return 1
	}
	return 0
}

// startYardstick starts the yardstick in a process of its own, to the end of the
// test.
func startYardstick(t *testing.T) (url string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0]) //nolint:gosec // this test binary
	cmd.Env = append(os.Environ(), yardEnv+"=1")
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	require.NoError(t, err)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	url, err = bufio.NewReader(out).ReadString('\n')
	require.NoError(t, err)
	t.Cleanup(func() { _ = in.Close(); _ = cmd.Wait() })
	return strings.TrimSpace(url)
}

func ask(c *http.Client, url, key string) bool {
	req, err := http.NewRequest(http.MethodGet, url, http.NoBody) //nolint:noctx // the process ends with the test
	if err != nil {
		return false
	}
	req.Header.Set("Authorization", "Bearer "+key)
	resp, err := c.Do(req)
	if err != nil {
		return false
	}
	defer func() { _ = resp.Body.Close() }()
	_, err = io.Copy(io.Discard, resp.Body)
	return err == nil && resp.StatusCode == http.StatusOK
}

// startProbe starts a probe in a process of its own; what it returns ends it.
func startProbe(t *testing.T, url, key, yardstick string) (end func() both) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0]) //nolint:gosec // this test binary
	cmd.Env = append(os.Environ(), probeURL+"="+url, probeKey+"="+key, probeRef+"="+yardstick)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	require.NoError(t, err)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	return func() (m both) {
		t.Helper()
		require.NoError(t, in.Close())
		require.NoError(t, json.NewDecoder(bufio.NewReader(out)).Decode(&m))
		require.NoError(t, cmd.Wait())
		return m
	}
}
