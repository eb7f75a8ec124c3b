package child

import (
	"os"
	"syscall"
)

// procAttr makes the kernel kill the child when its parent dies, should it be too
// stuck to notice the end of its input, and keeps the terminal's signals from it.
func procAttr() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
}

// terminate asks a child, and what it started, to end.
func terminate(pid int) error { return syscall.Kill(-pid, syscall.SIGTERM) }

// killAll ends a child and what it started.
func killAll(p *os.Process) error { return syscall.Kill(-p.Pid, syscall.SIGKILL) }
