package edge

import (
	"log/slog"
	"net/netip"
	"runtime/debug"
	"time"

	"github.com/panjf2000/gnet/v2"
	"golang.org/x/sys/unix"

	"github.com/voicemill/voicemill/gateway/internal/http1"
)

// conn is one connection, put together from its parts. Its loop owns every field but
// those of replies.
type conn struct {
	srv    *Server
	loop   *loop
	remote netip.AddrPort

	prev, next *conn // the loop's list
	timer      timer[*conn]
	notes      note // under loop.mu

	phase      phase
	isOpen     bool // OnOpen was called
	back       bool // it was here before
	accounted  int  // what the server's budget is charged with
	queued     int  // the loop's copy of queuedBytes and parkedBytes
	acceptedAt time.Duration
	lastUse    time.Duration // when the last request was read or the last answer sent
	lingerBy   time.Duration
	upgraded   *Conn
	tls        *tlsLayer // nil on a plain connection

	transport
	turn
	reader
	replies
}

// rescue is deferred around everything that runs for one connection: a panic
// ends this connection and no other.
func (c *conn) rescue() {
	if r := recover(); r != nil {
		c.srv.panicked(r, "connection")
		c.close()
	}
}

// shield is deferred around what others asked to be called, so that a panic in
// it does not keep the rest from being done.
func (s *Server) shield() {
	if r := recover(); r != nil {
		s.panicked(r, "callback")
	}
}

func (s *Server) panicked(r any, where string) {
	s.stats.Panics.Add(1)
	s.log.LogAttrs(s.base, slog.LevelError, "panic on an event loop", slog.Any("panic", r),
		slog.String("where", where), slog.String("stack", string(debug.Stack())))
}

// opened runs when the connection is on its loop.
func (c *conn) opened(g gnet.Conn) {
	defer c.rescue()
	c.isOpen = true
	c.g, c.fd = g, g.Fd()
	l := c.loop
	l.tock()
	c.lastUse = l.clock
	if !c.back {
		c.acceptedAt = l.clock
	}
	c.timer.owner = c
	c.prev, c.next = l.conns.prev, &l.conns
	l.conns.prev.next = c
	l.conns.prev = c
	c.parser = http1.NewParser(&c.srv.cfg.Limits)
	if c.srv.readsEarly != nil {
		c.parser.LeaveBodies(c.srv.readsEarly)
	}
	switch {
	case c.back:
		c.become(phaseHTTP)
	case c.srv.proxied(c.remote.Addr()):
		c.become(phaseProxy)
	default:
		c.become(c.firstPhase())
	}
	c.arm()
}

// received takes input, which is valid during the call only.
func (c *conn) received(data []byte) {
	defer c.rescue()
	c.srv.stats.BytesIn.Add(uint64(len(data)))
	c.loop.spend(len(data))
	c.offered()
	switch {
	case !c.tolerable(len(data)):
		return
	case c.phase == phaseLinger:
		c.discard(len(data))
	case c.tls == nil:
		c.input(data)
	case c.tls.steady:
		c.decrypt(data)
	default:
		c.feedHandshake(data)
		return
	}
	c.flush()
}

// tolerable cuts a peer that goes on sending while it does not take what was
// sent to it. Some input is answered below the protocol, by TLS, so that
// refusing requests is not enough.
func (c *conn) tolerable(n int) bool {
	if c.transport.left() <= c.srv.cfg.MaxOutbound {
		c.excess = 0
		return true
	}
	if c.excess += n; c.excess <= c.srv.cfg.MaxBacklog {
		return true
	}
	c.srv.stats.CutBacklog.Add(1)
	c.close()
	return false
}

// input gives plain bytes to the protocol of the connection.
func (c *conn) input(data []byte) {
	if c.phase == phaseLinger || c.phase == phaseClosed {
		return
	}
	if len(c.backlog) > 0 || c.stalled() {
		c.keep(data)
		data = nil
	}
	c.process(data)
}

// discard drops input after the last answer, up to a limit.
func (c *conn) discard(n int) {
	if c.discards += n; c.discards > lingerBytes {
		c.close()
	}
}

// process parses the backlog, or data if there is none, as far as possible and
// keeps the rest.
func (c *conn) process(data []byte) {
	old := c.backlog
	if len(old) > 0 {
		data = old
	}
	rest := data
	for len(rest) > 0 {
		before, phase := len(rest), c.phase
		switch c.phase {
		case phaseProxy:
			rest = c.readProxy(rest)
		case phaseSniff:
			rest = c.sniff(rest)
		case phaseHTTP:
			rest = c.readRequests(rest)
		case phaseUpgraded:
			rest = c.upgraded.feed(rest)
		default:
			return
		}
		if len(rest) == before && c.phase == phase {
			break
		}
	}
	if c.phase == phaseClosed {
		return
	}
	if len(old) > 0 {
		c.reader.left(rest)
		return
	}
	c.keep(rest)
}

// keep adds input to the backlog. Reading cannot be paused, so a peer that
// sends on regardless is cut.
func (c *conn) keep(data []byte) {
	if c.phase == phaseClosed || len(data) == 0 {
		return
	}
	if !c.reader.keep(data, c.srv.cfg.MaxBacklog) {
		c.srv.stats.CutBacklog.Add(1)
		c.close()
	}
}

// stalled reports whether input must wait.
func (c *conn) stalled() bool {
	if c.phase != phaseHTTP {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.body != nil {
		return c.body.full
	}
	if c.exclusive || c.waits {
		return true
	}
	return c.inFlight >= c.srv.cfg.MaxInFlight || c.pendingLocked()+c.parkedBytes > c.srv.cfg.MaxOutbound
}

// service runs on the loop when something happened elsewhere.
func (c *conn) service(n note) {
	defer c.rescue()
	if c.phase == phaseClosed {
		return
	}
	if n&noteGone != 0 && c.g == nil {
		c.close()
		return
	}
	if n&noteTurn != 0 || !c.waits {
		c.beginTurn()
	}
	if n&(noteRoom|noteInput) != 0 {
		c.armed = 0 // one report is all there is
	}
	if n&noteRoom != 0 {
		c.push()
	}
	if n&noteInput != 0 {
		c.readInput()
	}
	if n&noteHandshake != 0 {
		c.handshakeOver()
	}
	c.flush()
}

// released runs when gnet lets go of the connection, either because we closed
// it or because the peer did.
func (c *conn) released(g gnet.Conn, err error) {
	defer c.rescue()
	if c.phase == phaseClosed || c.g != g {
		return
	}
	if endOfInput(err) && c.outlive() {
		c.flush()
		return
	}
	c.end()
}

// close ends the connection now, whatever is pending.
func (c *conn) close() {
	if c.phase == phaseClosed {
		return
	}
	g := c.g
	c.end()
	if g != nil {
		_ = g.EventLoop().Close(g)
	}
}

// end takes the connection off the books and tells everyone who waits on it.
func (c *conn) end() {
	c.become(phaseClosed)
	c.srv.stats.Buffered.Add(-int64(c.accounted))
	c.accounted = 0
	c.forgetWatch()
	if c.loop != nil {
		c.loop.open.Add(-1)
		c.loop.wheel.remove(&c.timer)
	}
	if c.next != nil {
		c.prev.next, c.next.prev = c.next, c.prev
		c.prev, c.next = nil, nil
	}
	if c.g == nil && c.fd > 0 {
		_ = unix.Close(c.fd)
	}
	c.g, c.fd, c.backlog, c.cur, c.body = nil, -1, nil, nil, nil
	c.srv.buffers.put(c.wire)
	c.wire = nil

	c.mu.Lock()
	c.gone = true
	waiting := c.first
	c.first, c.last, c.inFlight = nil, nil, 0
	out, raw := c.out, c.raw
	c.out, c.raw, c.onRoom = nil, nil, nil
	c.mu.Unlock()

	c.srv.buffers.put(out)
	c.srv.buffers.put(raw)
	if c.tls != nil {
		c.tls.end()
	}
	for ex := waiting; ex != nil; ex = ex.next {
		ex.lost()
	}
	if c.upgraded != nil {
		c.upgraded.closed()
	}
	c.srv.left()
}
