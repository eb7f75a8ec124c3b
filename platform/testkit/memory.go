package testkit

import (
	"os"
	"strconv"
	"strings"
	"testing"
)

// PeakMemory returns the most that this process has had in memory, in bytes.
func PeakMemory(tb testing.TB) int {
	tb.Helper()
	b, err := os.ReadFile("/proc/self/status")
	if err != nil {
		tb.Fatalf("read the own memory: %v", err)
	}
	_, rest, _ := strings.Cut(string(b), "VmHWM:")
	kb := 0
	if f := strings.Fields(rest); len(f) > 0 {
		kb, err = strconv.Atoi(f[0])
	}
	if kb == 0 || err != nil {
		tb.Fatalf("no peak in /proc/self/status: %v", err)
	}
	return kb << 10
}
