package proctree

import (
	"fmt"
	"os"
	"strconv"
	"strings"
)

// Field returns a field of a process's status in bytes, such as VmHWM; 0 if it has ended.
func (p Process) Field(name string) int64 { return field(fmt.Sprintf("/proc/%d/status", p.PID), name) }

// Command returns the command line, with spaces between its words; empty if it has ended.
func (p Process) Command() string {
	b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", p.PID)) // it may have ended
	return strings.ReplaceAll(strings.TrimRight(string(b), "\x00"), "\x00", " ")
}

// Share returns the memory of a process in bytes, of what it shares its part only; 0
// if it has ended.
func (p Process) Share() int64 { return field(fmt.Sprintf("/proc/%d/smaps_rollup", p.PID), "Pss") }

// Load returns the load average of the last minute.
func Load() string {
	b, _ := os.ReadFile("/proc/loadavg") // none is as good as empty
	return strings.Join(strings.Fields(string(b))[:1], "")
}

func field(path, name string) int64 {
	b, _ := os.ReadFile(path) //nolint:gosec // of the kernel; it may have ended
	for line := range strings.Lines(string(b)) {
		if rest, ok := strings.CutPrefix(line, name+":"); ok {
			kb, _ := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
			return kb << 10
		}
	}
	return 0
}
