package owned

import (
	"bytes"
	"os"
	"path/filepath"
	"strconv"
)

// resident returns the bytes of memory that the process group of pid, which leads it,
// has resident. What several of its processes share counts for each.
func resident(pid int) (sum int64) {
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return 0
	}
	for _, path := range stats {
		b, err := os.ReadFile(path)
		if err != nil {
			continue // it has ended
		}
		// pid (name) state parent group …; the name may hold anything. See proc(5).
		fields := bytes.Fields(b[bytes.LastIndexByte(b, ')')+1:])
		if len(fields) < 22 || string(fields[2]) != strconv.Itoa(pid) {
			continue
		}
		pages, err := strconv.ParseInt(string(fields[21]), 10, 64)
		if err == nil {
			sum += pages * int64(os.Getpagesize())
		}
	}
	return sum
}
