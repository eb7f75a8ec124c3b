package torture_test

import (
	"bytes"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/e2e/internal/stage"
)

const (
	// What stays resident of the 200 to 300 MB that the heap had in between: pages
	// that hold little each, the collector's marks for all of them, and what the
	// next collection will need.
	rssMargin  = 24 << 20 // bytes
	heapMargin = 4 << 20  // bytes that live after a collection: caches of keys, documents and buffers
	look       = 250 * time.Millisecond
	uploads    = 16 // more than the gateway has memory for parts of those without a length
)

// empty lists the gauges that are zero when nobody is connected.
var empty = []string{
	"voicemill_gateway_connections", "voicemill_gateway_buffer_bytes", "voicemill_gateway_body_streams", "voicemill_gateway_handshakes",
	"voicemill_gateway_requests_in_flight", "voicemill_gateway_watches", "voicemill_gateway_watchers", "voicemill_gateway_reads_waiting",
	"voicemill_gateway_intake_jobs", "voicemill_gateway_intake_bytes", "voicemill_gateway_sessions{protocol=\"http1\"}",
	"voicemill_gateway_sessions{protocol=\"websocket\"}", "voicemill_gateway_sessions{protocol=\"frames\"}",
}

// warmUp makes the gateway open what it keeps: connections to Postgres and the
// bucket, caches, buffers.
func warmUp(t *testing.T, g *target) {
	t.Helper()
	cases := map[string]struct{}{}
	for range 300 {
		cases[strings.Repeat("x", len(cases))] = struct{}{}
	}
	each(t, cases, func(string, struct{}) error {
		for _, line := range []string{"GET /v1/jobs HTTP/1.1", "GET /v1/jobs/" + string(g.job) + " HTTP/1.1"} {
			if _, err := g.ask(line, ""); err != nil {
				return err
			}
		}
		return nil
	})
	for range uploads {
		g.upload(t)
	}
}

// settle waits until nobody is connected any more and, if there was a state
// before, until nothing is left of what happened since. It returns the state.
func (g *target) settle(t *testing.T, before map[string]float64) map[string]float64 {
	t.Helper()
	var now map[string]float64
	var left []string
	ok := func() bool {
		left = nil
		for range 2 { // what a pool keeps outlives the first
			if _, err := g.admin(t.Context(), "/debug/pprof/heap?gc=1"); err != nil {
				left = append(left, err.Error())
				return false
			}
		}
		var err error
		if now, err = g.metrics(t.Context()); err != nil {
			left = append(left, err.Error())
			return false
		}
		for _, name := range empty {
			if v, there := now[name]; !there || v != 0 {
				left = append(left, name)
			}
		}
		if before == nil {
			return len(left) == 0
		}
		for name, margin := range map[string]float64{
			"go_goroutines": 0, "process_open_fds": 0, "go_memstats_heap_alloc_bytes": heapMargin, "process_resident_memory_bytes": rssMargin,
		} {
			if now[name] > before[name]+margin {
				left = append(left, name)
			}
		}
		return len(left) == 0
	}
	deadline := time.After(patience)
	for !ok() {
		select {
		case <-time.After(look):
		case <-deadline:
			if stacks, err := g.admin(t.Context(), "/debug/pprof/goroutine?debug=1"); err == nil {
				t.Logf("%s", stacks[:min(len(stacks), 16<<10)])
			}
			for _, name := range slices.Sorted(maps.Keys(now)) {
				if strings.HasPrefix(name, "go_memstats_") {
					t.Logf("%s %.0f", name, now[name])
				}
			}
			for _, name := range left {
				t.Errorf("%s is %.0f; was %.0f", name, now[name], before[name])
			}
			t.FailNow()
		}
	}
	t.Logf("goroutines %.0f, descriptors %.0f, live heap %.1f MB, RSS %.1f MB", now["go_goroutines"], now["process_open_fds"],
		now["go_memstats_heap_alloc_bytes"]/1e6, now["process_resident_memory_bytes"]/1e6)
	return now
}

// unharmed checks that the process is the same, that it never panicked and that
// it serves.
func (g *target) unharmed(t *testing.T) {
	t.Helper()
	require.Equal(t, g.pid, g.s.PID(stage.Gateway))
	now, err := g.metrics(t.Context())
	require.NoError(t, err)
	require.Zero(t, now["voicemill_gateway_panics_total"])
	log, err := os.ReadFile(g.s.Log(stage.Gateway))
	require.NoError(t, err)
	for line := range bytes.Lines(log) {
		if bytes.Contains(line, []byte("panic")) || bytes.Contains(line, []byte(`"level":"ERROR"`)) {
			t.Errorf("in the log: %s", line)
		}
	}
	_, err = g.ask("GET /v1/jobs/"+string(g.job)+" HTTP/1.1", "")
	require.NoError(t, err)
}
