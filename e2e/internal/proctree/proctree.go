// Package proctree says what the kernel knows of a process and of those that it has
// started, from /proc.
package proctree

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// ticks of a second, as /proc has them everywhere.
const ticks = 100

// Process is one of them.
type Process struct {
	PID    int
	Parent int
	Name   string
	CPU    time.Duration // children that have ended included
}

// Below returns the processes that root has started, and those have, itself included.
func Below(root int) (all []Process) {
	known := processes()
	pids := []int{root}
	for i := 0; i < len(pids); i++ {
		for _, p := range known {
			if p.PID == pids[i] {
				all = append(all, p)
			} else if p.Parent == pids[i] && !slices.Contains(pids, p.PID) {
				pids = append(pids, p.PID)
			}
		}
	}
	return all
}

// Spent returns the processor time of what is below root: of Postgres, and of the rest.
func Spent(root int) (rest, postgres time.Duration) {
	for _, p := range Below(root) {
		if p.Name == "postgres" {
			postgres += p.CPU
		} else {
			rest += p.CPU
		}
	}
	return rest, postgres
}

func processes() (all []Process) {
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, path := range stats {
		b, err := os.ReadFile(path) //nolint:gosec // the kernel's
		if err != nil {
			continue // it has just ended
		}
		head, rest, _ := strings.Cut(string(b), " (")
		end := strings.LastIndexByte(rest, ')') // the name may have anything in it
		f := strings.Fields(rest[end+1:])
		p := Process{Name: rest[:end]}
		p.PID, _ = strconv.Atoi(head)
		p.Parent, _ = strconv.Atoi(f[1])
		for _, field := range f[11:15] {
			n, _ := strconv.Atoi(field)
			p.CPU += time.Duration(n) * time.Second / ticks
		}
		all = append(all, p)
	}
	return all
}
