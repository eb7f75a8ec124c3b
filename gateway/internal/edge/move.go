package edge

import (
	"fmt"
	"log/slog"
	"net"
	"os"

	"golang.org/x/sys/unix"
)

// inboxBytes is how much is read at a time from a descriptor of our own.
const inboxBytes = 64 << 10

// attend sees to it that input comes when there is use for it. gnet delivers
// whatever arrives. So a connection leaves it, with a duplicate of its
// descriptor, as soon as a body arrives faster than it is read, or requests do
// before the TLS handshake is over or before the connection's next turn. The watcher then
// says when there is something to read, and is asked only if there is room for
// it. When the request is answered the connection comes back.
func (c *conn) attend() {
	if c.eof && c.body != nil && len(c.backlog) == 0 {
		c.failBody(errCutShort)
	}
	switch {
	case c.phase == phaseClosed:
	case c.g != nil:
		if (c.upload || c.ahead) && len(c.backlog) > 0 && c.stalled() {
			c.moveOff()
		}
	case c.mayReturn():
		c.comeBack()
	default:
		c.watchFor()
	}
}

// wantsInput reports whether input is wanted from a descriptor of our own.
func (c *conn) wantsInput() bool {
	if c.g != nil || c.eof {
		return false
	}
	switch c.phase {
	case phaseHTTP:
		if c.ahead && !c.upload {
			return !c.waits // it is cut as if it were with gnet if it never reads an answer
		}
		return len(c.backlog) == 0 && !c.stalled()
	case phaseLinger, phaseUpgraded:
		return true
	default:
		return false
	}
}

// depart takes the connection away from gnet, which closes the descriptor that it
// has. It reports false without a descriptor to spare.
func (c *conn) depart() bool {
	fd, err := c.duplicateFD()
	if err != nil {
		return false
	}
	c.forgetWatch()
	c.g, c.fd = nil, fd
	return true
}

// moveOff takes a connection away from gnet whose input has to wait. Without a
// descriptor to spare it stays, and the limit of its backlog holds.
func (c *conn) moveOff() {
	g := c.g
	if !c.depart() {
		return
	}
	if c.ahead && !c.upload {
		c.srv.stats.HeldBack.Add(1)
	} else {
		c.srv.stats.Departed.Add(1)
	}
	_ = g.EventLoop().Close(g) // of its own descriptor; released finds that it is not ours any more
	c.watchFor()
}

// outlive keeps a connection whose peer shut its sending side, and which gnet closes
// for that, if answers are due.
func (c *conn) outlive() bool {
	if !c.due() || !c.depart() {
		return false
	}
	c.loop.tock()
	c.endOfInput()
	c.watchFor()
	return c.phase != phaseClosed
}

// readInput reads once from a descriptor of our own.
func (c *conn) readInput() {
	if !c.wantsInput() {
		return
	}
	l := c.loop
	if l.inbox == nil {
		l.inbox = make([]byte, inboxBytes)
	}
	n, err := unix.Read(c.fd, l.inbox[:c.readSize()])
	switch {
	case n > 0:
		c.more = c.ahead && n == inboxBytes
		c.received(l.inbox[:n])
	case err == unix.EAGAIN || err == unix.EINTR:
	case err != nil:
		c.close()
	case c.due():
		c.endOfInput()
	default:
		c.close()
	}
}

// readSize is how much may be read at once. What is read is never less than what
// it becomes, so that a body has room for it.
func (c *conn) readSize() int {
	if c.body == nil {
		return inboxBytes
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return max(1, min(inboxBytes, ringBytes-c.body.n))
}

// due reports whether anything is owed to a peer that has shut its sending side.
func (c *conn) due() bool {
	if c.phase != phaseHTTP && c.phase != phaseUpgraded {
		return false
	}
	c.mu.Lock()
	leaving := c.leave
	due := c.inFlight > 0 || c.out != nil || c.wire != nil || len(c.backlog) > 0
	c.mu.Unlock()
	if c.phase == phaseUpgraded && !leaving {
		return c.upgraded.due(due)
	}
	return due
}

// endOfInput runs when the peer has shut its sending side and answers are due.
// What is in the backlog is still served.
func (c *conn) endOfInput() {
	c.eof = true
	c.srv.stats.HalfClosed.Add(1)
	c.afterEnd()
}

// afterEnd gives up on a body that cannot become whole any more, and bounds how
// long answers may take that are not those of an upload.
func (c *conn) afterEnd() {
	if c.body != nil && len(c.backlog) == 0 {
		c.failBody(errCutShort)
	}
	if !c.upload {
		c.lingerBy = c.loop.clock + c.srv.cfg.HalfClose
	}
}

// mayReturn reports whether a connection on a descriptor of our own has nothing
// under way, so that it can come back to gnet.
func (c *conn) mayReturn() bool {
	if c.eof || c.noMore || c.pinned || c.more || c.phase != phaseHTTP || c.cur != nil || c.body != nil || c.wire != nil || len(c.backlog) > 0 {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.inFlight == 0 && c.out == nil && !c.leave && !c.srv.draining.Load()
}

// comeBack gives the connection to gnet again: a new one takes over what is left
// of this one, on the same loop.
func (c *conn) comeBack() {
	nc, err := c.duplicate()
	if err != nil {
		c.pinned = true // there is no descriptor to spare; the watcher serves as well
		c.watchFor()
		return
	}
	s := c.srv
	next := &conn{srv: s, remote: c.remote, tls: c.tls, acceptedAt: c.acceptedAt, back: true, transport: transport{pace: c.pace}, replies: replies{buffers: &s.buffers}}
	if next.tls != nil {
		next.tls.c = next
	}
	s.stats.Open.Add(1)
	l := c.loop
	started := s.moves.run(func() {
		if err := l.enrol(nc, next); err != nil {
			s.left()
			s.log.LogAttrs(s.base, slog.LevelWarn, "connection lost on its way back to its event loop", slog.Any("error", err))
		}
	})
	if !started {
		_ = nc.Close()
		s.left()
	}
	c.end()
}

// duplicate returns the socket as one of package net.
func (c *conn) duplicate() (*net.TCPConn, error) {
	fd, err := c.duplicateFD()
	if err != nil {
		return nil, fmt.Errorf("duplicate a descriptor: %w", err)
	}
	f := os.NewFile(uintptr(fd), "connection")
	nc, err := net.FileConn(f)
	_ = f.Close()
	if err != nil {
		return nil, fmt.Errorf("use a descriptor: %w", err)
	}
	tcp, ok := nc.(*net.TCPConn)
	if !ok {
		_ = nc.Close()
		return nil, fmt.Errorf("descriptor is of a %T", nc)
	}
	withoutZone(tcp)
	return tcp, nil
}

// withoutZone forgets the zones of nc's addresses, whose memory gnet would
// recycle although it is not its own.
func withoutZone(nc *net.TCPConn) {
	for _, a := range []net.Addr{nc.RemoteAddr(), nc.LocalAddr()} {
		if tcp, ok := a.(*net.TCPAddr); ok {
			tcp.Zone = ""
		}
	}
}
