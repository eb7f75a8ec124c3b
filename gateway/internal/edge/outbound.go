package edge

import (
	"golang.org/x/sys/unix"

	"github.com/voicemill/voicemill/gateway/internal/http1"
)

// lingerBytes is how much input is discarded after the last answer.
const lingerBytes = 1 << 20

// flush sends what is in the mailbox, resumes input that had to wait for it,
// and closes the connection when its last answer is out.
func (c *conn) flush() {
	for c.phase != phaseClosed {
		leave, switchTo := c.collect()
		if c.phase == phaseClosed {
			return
		}
		if switchTo != nil {
			c.upgrade(switchTo)
		}
		if leave && c.wire == nil {
			c.finish()
		}
		if len(c.backlog) == 0 || c.phase == phaseLinger || c.stalled() || !c.progress() {
			break
		}
	}
	c.endTurn()
	if c.eof && c.phase == phaseUpgraded {
		c.upgraded.ended()
	}
	c.attend()
	c.account()
	c.arm()
}

// collect moves the mailbox to the wire.
func (c *conn) collect() (leave bool, switchTo func(*Conn) ConnHandler) {
	c.mu.Lock()
	c.leaveBodyLocked()
	c.oweContinueLocked()
	if c.first == nil && c.switchTo == nil {
		c.exclusive, c.upload = false, false // the request that asked for an upgrade was answered otherwise
	}
	c.queued, c.parkedTold = c.queuedBytes+c.parkedBytes, c.parkedBytes
	out, raw := c.out, c.raw
	c.out, c.raw = nil, nil
	c.busy = false
	switchTo, c.switchTo = c.switchTo, nil
	leave = c.leave || c.eof && c.inFlight == 0 && len(c.backlog) == 0 && c.phase != phaseUpgraded && switchTo == nil
	if out != nil {
		c.pending += len(out.b)
	}
	c.mu.Unlock()
	if raw != nil {
		c.send(raw)
	}
	if out != nil {
		c.sendPlain(out)
	}
	return leave, switchTo
}

// oweContinueLocked answers 100 (Continue) when no answer can come before it.
func (c *conn) oweContinueLocked() {
	first := c.first == nil
	if b := c.body; b != nil {
		c.interim = b.expects && b.wanted
		first = c.first == b.ex && !b.ex.begun
	}
	if c.interim && !c.continued && first && !c.leave {
		c.continued = true
		c.outLocked().b = http1.AppendContinue(c.out.b)
	}
}

// progress parses the backlog and reports whether that changed anything.
func (c *conn) progress() bool {
	before := len(c.backlog)
	c.process(nil)
	return len(c.backlog) < before
}

// sendPlain sends output of the protocol, through TLS if that is what the
// connection speaks.
func (c *conn) sendPlain(out *buffer) {
	c.lastUse = c.loop.clock
	if c.tls == nil {
		c.send(out)
		return
	}
	var err error
	if !c.tls.bye { // after that there is nobody to read it
		err = c.tls.encrypt(out.b)
	}
	c.srv.buffers.put(out)
	if err != nil {
		c.close()
		return
	}
	c.push()
}

// send puts out on the wire and gives the socket what it takes.
func (c *conn) send(out *buffer) {
	if c.wire == nil {
		c.wire, c.wireOff, c.stalledAt = out, 0, c.loop.clock
	} else {
		c.wire.b = append(c.wire.b, out.b...)
		c.srv.buffers.put(out)
	}
	c.push()
}

// wireBuffer returns the wire, to append to.
func (c *conn) wireBuffer() *buffer {
	if c.wire == nil {
		c.wire, c.wireOff, c.stalledAt = c.srv.buffers.get(), 0, c.loop.clock
	}
	return c.wire
}

// push writes until the wire is empty or the socket is full.
func (c *conn) push() {
	if c.wire == nil || c.phase == phaseClosed {
		return
	}
	sent, ok := c.write()
	if !ok {
		c.close()
		return
	}
	c.srv.stats.BytesOut.Add(uint64(sent))
	c.loop.spend(sent)
	c.pace.sent += sent
	if sent > 0 {
		c.stalledAt = c.loop.clock
	}
	c.mu.Lock()
	c.pending = c.transport.left()
	c.roomLocked()
	var told []func()
	if c.pendingLocked() == 0 {
		told, c.onRoom = c.onRoom, nil
	}
	c.mu.Unlock()
	if c.wireOff == len(c.wire.b) {
		c.srv.buffers.put(c.wire)
		c.wire, c.stalledAt = nil, 0
		c.pace.end()
		c.lastUse = c.loop.clock
		c.srv.tell(told)
		return
	}
	c.pace.look(c.fd, c.loop.clock)
	c.compact()
	c.armed &^= unix.EPOLLOUT // a socket that was full may have become so after the last report
	c.watchFor()
}

// finish ends a connection whose last byte is sent. If its peer may still be
// sending, closing would reset it and destroy the answer, so it lingers.
func (c *conn) finish() {
	if c.phase == phaseLinger {
		return
	}
	c.mu.Lock()
	cut := c.cut
	c.mu.Unlock()
	if cut {
		_ = unix.SetsockoptLinger(c.fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1}) // close resets
		c.close()
		return
	}
	if c.tls != nil {
		c.tls.farewell()
		if c.push(); c.wire != nil || c.phase == phaseClosed {
			return // room for it will bring us back
		}
	}
	read := c.phase == phaseHTTP && c.cur == nil && c.body == nil && len(c.backlog) == 0 && c.discards == 0
	if c.eof || read {
		c.close()
		return
	}
	if err := unix.Shutdown(c.fd, unix.SHUT_WR); err != nil {
		c.close()
		return
	}
	c.become(phaseLinger)
	c.backlog, c.cur = nil, nil
	c.lingerBy = c.loop.clock + c.srv.cfg.LingerTimeout
}
