package child

import "syscall"

// procAttr makes the kernel kill the child when its parent dies, should it be too
// stuck to notice the end of its input, and keeps the terminal's signals from it.
func procAttr() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
}
