// Package readertest finds the processes that read documents for a test.
package readertest

import (
	"bytes"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// Children returns the readers that this process runs.
func Children(tb testing.TB) (pids []int) {
	tb.Helper()
	paths, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		tb.Fatalf("look for processes: %v", err)
	}
	own := strconv.Itoa(os.Getpid())
	for _, p := range paths {
		b, err := os.ReadFile(p) //nolint:gosec // of /proc
		if err != nil {
			continue // it has just ended
		}
		_, rest, _ := strings.Cut(string(b), ") ")
		command, _ := os.ReadFile(filepath.Join(filepath.Dir(p), "cmdline"))
		if f := strings.Fields(rest); len(f) < 2 || f[1] != own || !bytes.Contains(command, []byte("read-document")) {
			continue
		}
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(p)))
		if err != nil {
			tb.Fatalf("%s is no process: %v", p, err)
		}
		pids = append(pids, pid)
	}
	return pids
}
