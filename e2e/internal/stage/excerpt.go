package stage

import (
	"bytes"
	"slices"
)

// The most that a failed test shows of one program's log, so that what it failed
// for is not buried.
const (
	excerptWarnings = 8
	excerptLast     = 4
	excerptLine     = 300 // bytes
)

// excerpt returns what a program warned of last and its last lines. The first of
// some lines that are no JSON, as of a panic, counts as a warning.
func excerpt(log []byte) []byte {
	lines := bytes.Split(bytes.TrimSpace(log), []byte("\n"))
	last := max(0, len(lines)-excerptLast)
	var warned [][]byte
	for i := last - 1; i >= 0 && len(warned) < excerptWarnings; i-- {
		begins := !record(lines[i]) && (i == 0 || record(lines[i-1]))
		if begins || bytes.Contains(lines[i], []byte(`"level":"WARN"`)) || bytes.Contains(lines[i], []byte(`"level":"ERROR"`)) {
			warned = append(warned, lines[i])
		}
	}
	slices.Reverse(warned)
	var out []byte
	for _, line := range slices.Concat(warned, lines[last:]) {
		out = append(append(out, line[:min(len(line), excerptLine)]...), '\n')
	}
	return out
}

// record says whether a line is one of the log's own.
func record(line []byte) bool { return bytes.HasPrefix(line, []byte("{")) }
