package espeak

import (
	"errors"
	"syscall"
)

// procAttr makes the kernel kill the helper when the worker dies, should it be
// too stuck to notice the end of its input, and keeps the terminal's signals
// from it.
func procAttr() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
}

func isBrokenPipe(err error) bool { return errors.Is(err, syscall.EPIPE) }
