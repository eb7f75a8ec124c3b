package edge

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// write sends p, which is not empty, on a socket and never blocks. It does not
// tell the scheduler, which would otherwise give the processor to another thread
// whenever the kernel takes longer, as it does when the peer is on the same
// machine. It asks for sendto and not for write, which goes through the layer of
// files first. The error is 0 if there is none.
func write(fd int, p []byte) (int, unix.Errno) {
	const flags = unix.MSG_DONTWAIT | unix.MSG_NOSIGNAL
	n, _, errno := unix.RawSyscall6(unix.SYS_SENDTO, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)), flags, 0, 0)
	if errno != 0 {
		return -1, errno
	}
	return int(n), 0
}
