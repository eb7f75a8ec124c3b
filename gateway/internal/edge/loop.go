package edge

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/panjf2000/gnet/v2"
	"golang.org/x/sys/unix"
)

// note is why a connection is on its loop's ready list.
type note uint8

const (
	noteOutput    note = 1 << iota // its mailbox holds something
	noteRoom                       // its full socket has room
	noteHandshake                  // its handshake is over
	noteGone                       // the peer of a descriptor of our own is gone
	noteInput                      // and here it has sent something
	noteTurn                       // it is its turn to serve requests
)

// loop is an event loop: a client of gnet that has one. Fields are used on that loop
// alone, except those under mu and what says otherwise.
type loop struct {
	srv    *Server
	client *gnet.Client // gives the loop connections, from any goroutine
	open   atomic.Int64 // connections that it has or is given
	wheel  *wheel[*conn]
	conns  conn // head of the circular list of this loop's connections
	spare  *Exchange
	now    time.Time
	clock  time.Duration // since the server started; what deadlines are measured in
	batch  []*conn       // of the ready list, from turned on still to be looked after
	turned int
	effort int           // of the sockets since the last turn or, within one, of the turn
	share  int           // how large the effort of this turn may be
	due    time.Duration // the loop's own copy of dueAt
	plain  []byte        // what a record was decrypted to
	local  any           // the handler's
	inbox  []byte        // what is read from a descriptor of our own

	drained   bool // this loop has told its connections to leave
	drainedAt time.Duration

	bell   *net.UnixConn // written to by any goroutine
	active atomic.Bool   // it had something to do since the last tick
	busy   atomic.Bool   // it is in a callback, which may take long

	mu    sync.Mutex
	ready []*conn
	rung  bool          // a byte is on its way to the loop
	dueAt time.Duration // when the wheel has to be looked at, under mu; 0 for never
	asked time.Time     // since when it is measured how long it takes to answer; zero while it is not
}

// notify puts c on the ready list and rings the bell if nobody has. It is safe
// on any goroutine.
func (l *loop) notify(c *conn, n note) {
	l.mu.Lock()
	if c.notes == 0 {
		l.ready = append(l.ready, c)
	}
	c.notes |= n
	ring := !l.rung
	l.rung = true
	l.mu.Unlock()
	if ring {
		l.ring()
	}
}

// tick rings the bell if it is time to look at the wheel, and to measure how long a
// loop that had something to do takes to answer. One that has not answered yet is
// that late already.
func (l *loop) tick(now time.Time) {
	clock := now.Sub(l.srv.started)
	active := l.active.Swap(false)
	l.mu.Lock()
	asked := l.asked
	ring := !l.rung && (active || l.dueAt > 0 && l.dueAt <= clock)
	l.rung = l.rung || ring
	if l.rung && asked.IsZero() {
		l.asked = now
	}
	l.mu.Unlock()
	if ring {
		l.ring()
	}
	if !asked.IsZero() {
		l.srv.stats.LoopLag.note(now.Sub(asked))
	}
}

// wake rings the bell whatever there is to do.
func (l *loop) wake() {
	l.mu.Lock()
	ring := !l.rung
	l.rung = true
	l.mu.Unlock()
	if ring {
		l.ring()
	}
}

// ring writes one byte, for which an otherwise empty socket always has room. It
// fails only when the loop has ended.
func (l *loop) ring() { _, _ = l.bell.Write([]byte{1}) }

// answer runs on the loop when the bell was rung. It does not do everything at
// once: what is left rings again.
func (l *loop) answer() {
	l.mu.Lock()
	if l.turned == len(l.batch) {
		l.batch, l.ready = l.ready, l.batch[:0]
		l.turned = 0
	}
	l.rung = false
	asked := l.asked
	l.asked = time.Time{}
	l.mu.Unlock()
	l.tock()
	if !asked.IsZero() {
		l.srv.stats.LoopLag.note(l.now.Sub(asked))
	}
	if len(l.batch) > l.turned {
		l.active.Store(true)
	}
	for l.begin(); l.turned < len(l.batch) && !l.turnOver(); l.effort++ {
		c := l.batch[l.turned]
		l.batch[l.turned] = nil
		l.turned++
		l.mu.Lock()
		n := c.notes
		c.notes = 0
		l.mu.Unlock()
		c.service(n)
	}
	l.end()
	l.wheel.advance(l.clock, (*conn).expire)
	if l.srv.draining.Load() && !l.drained {
		l.drained, l.drainedAt = true, l.clock
		for c := l.conns.next; c != &l.conns; {
			next := c.next
			c.drain()
			c = next
		}
	}
	l.setDue(l.wheel.next())
	if l.turned < len(l.batch) {
		l.wake()
	}
}

// setDue says when the wheel has to be looked at.
func (l *loop) setDue(at time.Duration) {
	l.due = at
	l.mu.Lock()
	l.dueAt = at
	l.mu.Unlock()
}

// tock reads the clock.
func (l *loop) tock() {
	l.now = time.Now()
	l.clock = l.now.Sub(l.srv.started)
}

// arm makes sure that the wheel fires c no later than at. A timer that fires
// too early looks at the deadlines and goes back to the wheel, so that moving a
// deadline away, which every request does, costs nothing.
func (l *loop) arm(c *conn, at time.Duration) {
	if at == 0 || l.wheel.due(&c.timer, at) {
		return
	}
	l.wheel.schedule(&c.timer, at)
	if l.due == 0 || at < l.due {
		l.setDue(at)
	}
}

// take returns an exchange for the next request of c.
func (l *loop) take(c *conn) *Exchange {
	ex := l.spare
	l.spare = nil
	if ex == nil {
		ex = &Exchange{}
	}
	ex.c = c
	return ex
}

// recycle keeps an exchange that nobody uses any more.
func (l *loop) recycle(ex *Exchange) {
	ex.reset()
	l.spare = ex
}

// enrol gives the loop a connection, whose socket is nc, and waits until it has taken
// it. Whatever comes of it, nc is closed: gnet has a descriptor of its own.
func (l *loop) enrol(nc *net.TCPConn, c *conn) error {
	c.loop = l
	l.open.Add(1)
	_, err := l.client.EnrollContext(nc, c)
	if err == nil && !c.isOpen {
		err = errors.New("the event loop refused it")
	}
	if err != nil {
		l.open.Add(-1)
	}
	return err
}

// engine receives gnet's callbacks, on the loop.
type engine struct {
	gnet.BuiltinEventEngine
	l *loop
}

// bellEnd marks the connection that is the receiving end of the loop's bell.
type bellEnd struct{}

func (e *engine) OnOpen(g gnet.Conn) (out []byte, action gnet.Action) {
	if c, ok := g.Context().(*conn); ok {
		c.opened(g)
	}
	return nil, gnet.None
}

func (e *engine) OnTraffic(g gnet.Conn) gnet.Action {
	e.l.busy.Store(true)
	defer e.l.busy.Store(false)
	switch c := g.Context().(type) {
	case bellEnd:
		_, _ = g.Discard(-1)
		e.l.answer()
	case *conn:
		data, err := g.Next(-1)
		if err == nil && len(data) > 0 {
			e.l.active.Store(true)
			e.l.tock()
			c.received(data)
		}
	}
	return gnet.None
}

func (e *engine) OnClose(g gnet.Conn, err error) gnet.Action {
	if c, ok := g.Context().(*conn); ok {
		c.released(g, err)
	}
	return gnet.None
}

// startLoop starts a loop with its bell.
func (s *Server) startLoop() (*loop, error) {
	l := &loop{srv: s, wheel: newWheel[*conn](s.cfg.Tick)}
	l.conns.prev, l.conns.next = &l.conns, &l.conns
	l.tock()
	receiver, bell, err := socketPair()
	if err != nil {
		return nil, err
	}
	l.bell = bell
	l.client, err = gnet.NewClient(&engine{l: l}, gnet.WithNumEventLoop(1), gnet.WithLogger(gnetLog{s.log}),
		gnet.WithTCPNoDelay(gnet.TCPDelay)) // package net has set TCP_NODELAY and keep-alive already
	if err == nil {
		err = l.client.Start()
	}
	if err != nil {
		return nil, errors.Join(err, receiver.Close(), bell.Close())
	}
	if _, err := l.client.EnrollContext(receiver, bellEnd{}); err != nil {
		return nil, errors.Join(fmt.Errorf("enrol its bell: %w", err), l.client.Stop(), bell.Close())
	}
	return l, nil
}

func socketPair() (a, b *net.UnixConn, err error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("create a socket pair: %w", err)
	}
	var ends [2]*net.UnixConn
	for i, fd := range fds {
		f := os.NewFile(uintptr(fd), "bell")
		c, ferr := net.FileConn(f)
		_ = f.Close()
		u, ok := c.(*net.UnixConn)
		if ferr != nil || !ok {
			err = errors.Join(err, fmt.Errorf("use a socket pair: %w", ferr))
			continue
		}
		ends[i] = u
	}
	if err != nil {
		for _, c := range ends {
			if c != nil {
				_ = c.Close()
			}
		}
		return nil, nil, err
	}
	return ends[0], ends[1], nil
}

// gnetLog gives gnet's messages to slog. gnet reports the ordinary end of
// connections as warnings, so nothing here is above debug but errors.
type gnetLog struct{ log *slog.Logger }

func (g gnetLog) write(level slog.Level, format string, args []any) {
	ctx := context.Background() //nolint:forbidigo // gnet's logger has no context to pass
	if g.log.Enabled(ctx, level) {
		g.log.LogAttrs(ctx, level, "event engine", slog.String("message", fmt.Sprintf(format, args...)))
	}
}

// Debugf implements gnet's logger.
func (g gnetLog) Debugf(format string, args ...any) { g.write(slog.LevelDebug, format, args) }

// Infof implements gnet's logger.
func (g gnetLog) Infof(format string, args ...any) { g.write(slog.LevelDebug, format, args) }

// Warnf implements gnet's logger.
func (g gnetLog) Warnf(format string, args ...any) { g.write(slog.LevelDebug, format, args) }

// Errorf implements gnet's logger.
func (g gnetLog) Errorf(format string, args ...any) { g.write(slog.LevelError, format, args) }

// Fatalf implements gnet's logger. It does not end the process.
func (g gnetLog) Fatalf(format string, args ...any) { g.write(slog.LevelError, format, args) }

// endOfInput reports whether gnet closed a connection because its peer shut its
// sending side, which may still be listening.
func endOfInput(err error) bool {
	var sys *os.SyscallError
	return errors.As(err, &sys) && errors.Is(sys.Err, io.EOF)
}
