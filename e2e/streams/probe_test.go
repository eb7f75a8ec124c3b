package streams_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"slices"
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
)

const (
	probeClients = 2
	probeEvery   = 4 * time.Millisecond
)

// measured is what a probe found.
type measured struct {
	Requests int           `json:"requests"`
	Failed   int           `json:"failed"`
	P50      time.Duration `json:"p50"`
	P99      time.Duration `json:"p99"`
}

func (m measured) String() string {
	return fmt.Sprintf("p50 %s, p99 %s of %d requests", m.P50.Round(time.Microsecond), m.P99.Round(time.Microsecond), m.Requests)
}

// probe asks until its standard input ends, then says what it found.
func probe(url, key string) int {
	ctx, stop := context.WithCancel(context.Background())
	go func() { _, _ = io.Copy(io.Discard, os.Stdin); stop() }()
	var mu sync.Mutex
	var all []time.Duration
	failed := 0
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
				if !ok {
					failed++
				}
				mu.Unlock()
			}
		})
	}
	clients.Wait()
	slices.Sort(all)
	m := measured{Requests: len(all), Failed: failed}
	if len(all) > 0 {
		m.P50, m.P99 = all[len(all)/2], all[len(all)*99/100]
	}
	if err := json.NewEncoder(os.Stdout).Encode(m); err != nil {
		return 1
	}
	return 0
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
func startProbe(t *testing.T, url, key string) (end func() measured) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0]) //nolint:gosec // this test binary
	cmd.Env = append(os.Environ(), probeURL+"="+url, probeKey+"="+key)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	require.NoError(t, err)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	return func() (m measured) {
		t.Helper()
		require.NoError(t, in.Close())
		require.NoError(t, json.NewDecoder(bufio.NewReader(out)).Decode(&m))
		require.NoError(t, cmd.Wait())
		return m
	}
}
