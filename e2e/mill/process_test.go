package mill_test

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// ownCPU returns the processor time of this process.
func ownCPU() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u) // never fails
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// forgetPeak lets the peak of a process's memory begin anew.
func forgetPeak(t *testing.T, pid int) {
	t.Helper()
	require.NoError(t, os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", pid), []byte("5"), 0o200))
}

// series returns the metrics of services, those of one name and labels added up.
func series(ctx context.Context, t *testing.T, admins ...string) map[string]float64 {
	t.Helper()
	sums := map[string]float64{}
	for _, admin := range admins {
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, admin+"/metrics", http.NoBody)
		require.NoError(t, err)
		resp, err := http.DefaultClient.Do(r)
		require.NoError(t, err)
		for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
			name, value, _ := strings.Cut(lines.Text(), " ")
			if n, err := strconv.ParseFloat(value, 64); err == nil && strings.HasPrefix(name, "voicemill_") {
				sums[name] += n
			}
		}
		require.NoError(t, resp.Body.Close())
	}
	return sums
}

// syncs counts the syncs to disk of processes while do runs, if there is an strace to
// count them with.
func syncs(t *testing.T, pids []int, do func()) (n int, counted bool) {
	t.Helper()
	if _, err := exec.LookPath("strace"); err != nil {
		t.Log("syncs to disk are not counted: there is no strace")
		return 0, false
	}
	out := filepath.Join(t.TempDir(), "strace")
	args := []string{"-f", "-qq", "-c", "-o", out, "-e", "trace=fsync,fdatasync,sync_file_range,syncfs"}
	for _, pid := range pids {
		args = append(args, "-p", strconv.Itoa(pid))
	}
	cmd := exec.CommandContext(t.Context(), "strace", args...) //nolint:gosec // of processes that this test started
	require.NoError(t, cmd.Start())
	for _, pid := range pids { // it says nothing when it has begun
		awaitTraced(t, pid)
	}
	do()
	require.NoError(t, cmd.Process.Signal(os.Interrupt))
	_ = cmd.Wait() // it ends with the signal
	b, err := os.ReadFile(out)
	require.NoError(t, err)
	for line := range strings.Lines(string(b)) {
		f := strings.Fields(line)
		if len(f) >= 5 && slices.Contains([]string{"fsync", "fdatasync", "sync_file_range", "syncfs"}, f[len(f)-1]) {
			calls, err := strconv.Atoi(f[3])
			require.NoError(t, err, line)
			n += calls
		}
	}
	return n, true
}

// awaitTraced waits until somebody traces a process, or it has ended.
func awaitTraced(t *testing.T, pid int) {
	t.Helper()
	for {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
		if err != nil || !strings.Contains(string(b), "TracerPid:\t0\n") {
			return
		}
		select {
		case <-t.Context().Done():
			t.Fatalf("process %d is not traced", pid)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// profile keeps the profile of a process's next seconds, if VOICEMILL_MILL_PROFILE
// names a folder for it. It returns a function that waits for it.
func profile(ctx context.Context, t *testing.T, name, admin string, seconds int) (wait func()) {
	t.Helper()
	dir := os.Getenv("VOICEMILL_MILL_PROFILE")
	if dir == "" {
		return func() {}
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		out := filepath.Join(dir, name+".pprof")
		cmd := exec.CommandContext(ctx, "curl", "-sf", "-o", out, fmt.Sprintf("%s/debug/pprof/profile?seconds=%d", admin, seconds)) //nolint:gosec // of whoever runs the test
		if b, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("profile of %s: %v %s", name, err, b)
		}
	}()
	return func() { <-done }
}
