package ffmpeg

import "syscall"

// procAttr makes the kernel kill the process when this one dies, and keeps the
// terminal's signals from it.
func procAttr() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
}
