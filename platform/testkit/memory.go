package testkit

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
)

// PeakMemory returns the most that a process has had in memory, in bytes.
func PeakMemory(tb testing.TB, pid int) int {
	tb.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		tb.Fatalf("read the memory of a process: %v", err)
	}
	_, rest, _ := strings.Cut(string(b), "VmHWM:")
	kb := 0
	if f := strings.Fields(rest); len(f) > 0 {
		kb, err = strconv.Atoi(f[0])
	}
	if kb == 0 || err != nil {
		tb.Fatalf("no peak in the status of process %d: %v", pid, err)
	}
	return kb << 10
}
