package edge

import (
	"log/slog"
	"net/netip"
	"runtime/debug"
	"sync"
	"time"

	"github.com/panjf2000/gnet/v2"
	"golang.org/x/sys/unix"

	"github.com/voicemill/voicemill/gateway/internal/http1"
)

// phase is where in its life a connection is; see the package comment.
type phase uint8

const (
	phaseSniff phase = iota
	phaseHandshake
	phaseHTTP
	phaseUpgraded
	phaseLinger
	phaseClosed
	phaseProxy // the header of a load balancer comes first
)

// conn is one connection. Its loop owns every field but those under mu.
type conn struct {
	srv    *Server
	loop   *loop
	g      gnet.Conn // nil before it is open and once the connection lives on its own descriptor
	fd     int
	remote netip.AddrPort

	prev, next *conn // the loop's list
	timer      timer[*conn]
	notes      note // under loop.mu

	phase     phase
	isOpen    bool // OnOpen was called
	eof       bool // no more input will come
	noMore    bool // no further request is read
	hold      bool // no further request is read until the one that asks for an upgrade, or is an upload, is answered
	interim   bool // 100 (Continue) is owed or was sent for the request being read
	continued bool
	parser    http1.Parser
	cur       *Exchange // the request that is being read
	body      *Body     // of a request that was dispatched, of which more is to come
	upload    bool      // a request whose body is or was streamed awaits its answer
	back      bool      // it was here before
	stuck     bool      // it cannot come back
	served    int       // requests in this turn of its
	waits     bool      // for its next turn, with requests in the backlog
	ahead     bool      // it sent more while it waited
	more      bool      // and has not stopped, as far as is known
	backlog   []byte    // input that cannot be parsed yet
	discards  int       // input dropped while lingering
	pressed   int       // input taken while too much output waits
	accounted int       // what the server's budget is charged with
	queued    int       // the loop's copy of queuedBytes and parkedBytes
	upgraded  *Conn
	tls       *tlsLayer // nil on a plain connection

	wire    *buffer // output that the socket has not taken
	wireOff int
	watch   int32  // key in the watcher
	armed   uint32 // events that it will report

	acceptedAt time.Duration
	stageAt    time.Duration // when the current stage of the request being read began
	stage      http1.Stage
	stalledAt  time.Duration // when output last made progress; 0 without output waiting
	pace       pace          // of a peer for which output waits
	lingerBy   time.Duration
	lastUse    time.Duration // when the last request was read or the last answer sent

	mu          sync.Mutex
	out         *buffer   // answers in order, not yet on the wire
	raw         *buffer   // output of a handshake
	first       *Exchange // requests that await their answers, oldest first
	last        *Exchange
	inFlight    int
	queuedBytes int                     // of requests that await their answers
	parkedBytes int                     // of answers that others must go before
	parkedTold  int                     // of these, as the loop knows
	busy        bool                    // the loop is working on this connection and will flush it
	leave       bool                    // close when everything is sent
	cut         bool                    // and at once
	gone        bool                    // closed
	room        chan struct{}           // closed when an upgraded connection that waits may go on
	onRoom      []func()                // told once when everything is sent
	switchTo    func(*Conn) ConnHandler // takes over from HTTP once the 101 is queued
	pending     int                     // bytes in wire
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
	c.loop = c.srv.byEvent[g.EventLoop()]
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
	if c.srv.streams != nil {
		c.parser.Stream(c.srv.streams)
	}
	switch c.phase = c.firstPhase(); {
	case c.back:
		c.phase = phaseHTTP
	case c.srv.proxied(c.remote.Addr()):
		c.phase = phaseProxy
	}
	c.arm()
}

// received takes input, which is valid during the call only.
func (c *conn) received(data []byte) {
	defer c.rescue()
	c.srv.stats.BytesIn.Add(uint64(len(data)))
	c.loop.spend(len(data))
	if c.waits {
		c.ahead = true
	} else {
		c.newTurn()
	}
	switch {
	case !c.bearable(len(data)):
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

// bearable cuts a peer that goes on sending while it does not take what was
// sent to it. Some input is answered below the protocol, by TLS, so that
// refusing requests is not enough.
func (c *conn) bearable(n int) bool {
	if c.wire == nil || len(c.wire.b)-c.wireOff <= c.srv.cfg.MaxOutbound {
		c.pressed = 0
		return true
	}
	if c.pressed += n; c.pressed <= c.srv.cfg.MaxBacklog {
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
		c.backlog = old[:copy(old, rest)]
		if len(rest) == 0 {
			c.backlog = nil
		}
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
	if len(c.backlog)+len(data) > c.srv.cfg.MaxBacklog {
		c.srv.stats.CutBacklog.Add(1)
		c.close()
		return
	}
	c.backlog = append(c.backlog, data...)
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
	if c.hold || c.waits {
		return true
	}
	return c.inFlight >= c.srv.cfg.MaxInFlight || c.pendingLocked()+c.parkedBytes > c.srv.cfg.MaxOutbound
}

func (c *conn) pendingLocked() int {
	n := c.pending
	if c.out != nil {
		n += len(c.out.b)
	}
	return n
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
		c.newTurn()
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
		c.shaken()
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

// outlive keeps a connection whose peer shut its sending side, if answers are
// due, on a descriptor of its own, because gnet closes the one it has.
func (c *conn) outlive() bool {
	if !c.due() {
		return false
	}
	c.forgetWatch()
	fd, err := unix.FcntlInt(uintptr(c.fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return false
	}
	c.g, c.fd = nil, fd
	c.loop.tock()
	c.endOfInput()
	c.watchFor()
	return c.phase != phaseClosed
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
	c.phase = phaseClosed
	c.srv.stats.Buffered.Add(-int64(c.accounted))
	c.accounted = 0
	c.forgetWatch()
	if c.loop != nil {
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
	if c.room != nil {
		close(c.room)
		c.room = nil
	}
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
	if c.hungry() {
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
