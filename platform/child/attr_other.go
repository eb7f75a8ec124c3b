//go:build !linux

package child

import (
	"os"
	"syscall"
)

// procAttr leaves the end of a child to the end of its input.
func procAttr() *syscall.SysProcAttr { return nil }

// terminate asks a child to end.
func terminate(pid int) error {
	p, err := os.FindProcess(pid)
	if err != nil {
		return err
	}
	return p.Signal(syscall.SIGTERM)
}

// killAll ends a child.
func killAll(p *os.Process) error { return p.Kill() }
