package edge

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// write is unix.Write for a socket that never blocks, and p that is not empty. It
// does not tell the scheduler, which would otherwise give the processor to another
// thread whenever the kernel takes longer, as it does when the peer is on the same
// machine. The error is 0 if there is none.
func write(fd int, p []byte) (int, unix.Errno) {
	n, _, errno := unix.RawSyscall(unix.SYS_WRITE, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)))
	if errno != 0 {
		return -1, errno
	}
	return int(n), 0
}
