package release_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// meter is what a phase took.
type meter struct {
	at           time.Time
	wal          int64
	server, self time.Duration
}

func us(d time.Duration, n int) float64 { return float64(d.Microseconds()) / float64(n) }

func at(sorted []time.Duration, share float64) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[int(share*float64(len(sorted)-1))].Round(10 * time.Microsecond)
}

func (w *bench) meter(t *testing.T) meter {
	t.Helper()
	m := meter{at: time.Now()}
	var backend int
	w.One(t, `select pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')::bigint, pg_backend_pid()`, nil, &m.wal, &backend)
	m.server = serverTime(t, backend)
	var use syscall.Rusage
	require.NoError(t, syscall.Getrusage(syscall.RUSAGE_SELF, &use))
	m.self = time.Duration(use.Utime.Nano() + use.Stime.Nano())
	return m
}

// serverTime returns what the Postgres that a backend belongs to has used of the
// processor: its processes and those that have ended.
func serverTime(t *testing.T, backend int) (sum time.Duration) {
	t.Helper()
	const tick = 10 * time.Millisecond // of Linux, on every machine that Go knows
	fields := func(path string) []string {
		b, err := os.ReadFile(path) //nolint:gosec // of /proc
		if err != nil {
			return nil
		}
		_, rest, _ := strings.Cut(string(b), ") ")
		return strings.Fields(rest)
	}
	own := fields(fmt.Sprintf("/proc/%d/stat", backend))
	require.NotEmpty(t, own)
	postmaster := own[1]
	paths, err := filepath.Glob("/proc/[0-9]*/stat")
	require.NoError(t, err)
	for _, p := range paths {
		f := fields(p)
		mine := len(f) > 14 && f[1] == postmaster
		if len(f) <= 14 || !mine && p != "/proc/"+postmaster+"/stat" {
			continue
		}
		for _, i := range []int{11, 12, 13, 14} { // user, system, and the same of children
			v, err := strconv.ParseInt(f[i], 10, 64)
			require.NoError(t, err)
			sum += time.Duration(v) * tick
		}
	}
	return sum
}
