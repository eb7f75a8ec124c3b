package edge

import (
	"time"

	"github.com/panjf2000/gnet/v2"
	"golang.org/x/sys/unix"
)

// transport is how the bytes of a connection come and go: with gnet, or on a
// descriptor of our own, and what of its output the socket has not taken.
type transport struct {
	g  gnet.Conn // nil before it is open and once the connection lives on its own descriptor
	fd int

	watch  int32  // key in the watcher
	armed  uint32 // events that it will report
	pinned bool   // it cannot come back to gnet

	wire      *buffer // output that the socket has not taken
	wireOff   int
	stalledAt time.Duration // when output last made progress; 0 without output waiting
	pace      pace          // of a peer for which output waits
	excess    int           // input taken while too much output waits
}

// left is how much of the wire the socket has not taken.
func (t *transport) left() int {
	if t.wire == nil {
		return 0
	}
	return len(t.wire.b) - t.wireOff
}

// write gives the socket what it takes of the wire. ok is false if the socket is
// broken.
func (t *transport) write() (sent int, ok bool) {
	for t.wireOff < len(t.wire.b) {
		n, errno := write(t.fd, t.wire.b[t.wireOff:])
		switch {
		case n > 0:
			t.wireOff += n
			sent += n
		case errno == unix.EINTR:
		default:
			return sent, errno == unix.EAGAIN
		}
	}
	return sent, true
}

// compact drops what was sent once it is most of a large buffer.
func (t *transport) compact() {
	if t.wireOff > keptBufferBytes && t.wireOff > len(t.wire.b)/2 {
		t.wire.b = t.wire.b[:copy(t.wire.b, t.wire.b[t.wireOff:])]
		t.wireOff = 0
	}
}

// duplicateFD returns a descriptor of our own for the socket.
func (t *transport) duplicateFD() (int, error) {
	return unix.FcntlInt(uintptr(t.fd), unix.F_DUPFD_CLOEXEC, 0)
}

func (c *conn) forgetWatch() {
	c.srv.watcher.forget(c.watch, c.fd)
	c.watch, c.armed = 0, 0
}

// watchFor asks the watcher to report what the connection waits for: room for
// output and, on a descriptor of our own, input and the loss of the peer.
func (c *conn) watchFor() {
	if c.phase == phaseClosed {
		return
	}
	var want uint32
	if c.g == nil {
		want |= unix.EPOLLONESHOT
	}
	if c.wire != nil {
		want |= unix.EPOLLOUT | unix.EPOLLONESHOT
	}
	if c.wantsInput() {
		want |= unix.EPOLLIN
	}
	if want&^c.armed == 0 {
		return
	}
	key, err := c.srv.watcher.watch(c.watch, c, c.fd, want)
	c.watch, c.armed = key, want
	if err != nil {
		c.close()
	}
}
