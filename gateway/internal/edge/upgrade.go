package edge

import (
	"context"
	"crypto/x509"
	"errors"
	"net"
	"net/netip"
	"time"

	"github.com/voicemill/voicemill/gateway/internal/http1"
)

// ErrCongested means that the peer does not read as fast as it is written to
// and the limit of what may wait for it is reached. Nothing was written.
var ErrCongested = errors.New("the peer does not read fast enough")

// ConnHandler speaks a protocol over a connection that has left HTTP. Its
// methods are called on the connection's event loop and must not block.
type ConnHandler interface {
	// OnBytes takes input and returns how much of it was used. The rest is
	// offered again together with what arrives next. data is valid during the
	// call only. An error closes the connection after what was written is sent.
	OnBytes(c *Conn, data []byte) (consumed int, err error)
	// OnClose is called once, when the connection is gone. err is what OnBytes
	// returned or was given to Close, and nil if the peer left.
	OnClose(err error)
}

// TimerHandler is a [ConnHandler] that wants time-outs: see [Conn.SetTimer].
type TimerHandler interface {
	// OnTimer is called once for every time that was set.
	OnTimer(c *Conn)
}

// DrainHandler is a [ConnHandler] that takes leave when the server drains. One
// that is none is closed.
type DrainHandler interface {
	// OnDrain is called once. The handler has the grace period to close.
	OnDrain(c *Conn)
}

// EndHandler is a [ConnHandler] whose peer may shut its sending side and wait for
// answers, for as long as the server's HalfClose allows. One that is none is
// closed then.
type EndHandler interface {
	// Due reports whether the peer, from which no more will come, waits for
	// anything that the handler has not written. It is asked again when something
	// was written and after [Conn.Resume].
	Due() bool
	// OnEnd is called once, when nothing is due any more. The handler closes.
	OnEnd(c *Conn)
}

// Conn is a connection that has left HTTP. Its methods are safe on any
// goroutine, except where they say otherwise.
type Conn struct {
	c       *conn
	handler ConnHandler
	timerAt time.Duration   // on the loop
	err     error           // under c.mu; why it ends
	ctx     context.Context //nolint:containedctx // under c.mu; made on demand, for work that leaves the loop
	cancel  context.CancelFunc
}

// Upgrade answers 101 with header, which must carry Upgrade, and gives the
// connection to the handler that start returns; start is called once, on the
// loop, after the answer is queued, and may write. Upgrade reports false, and
// does nothing, if the request does not ask for an upgrade, was answered already
// or its connection is gone.
func (ex *Exchange) Upgrade(header []http1.Field, start func(*Conn) ConnHandler) bool {
	if !ex.upgradable {
		return false
	}
	c := ex.c
	c.mu.Lock()
	if ex.state != exchangeOpen || ex.begun {
		c.mu.Unlock()
		return false
	}
	dst := c.bufferLocked(ex)
	dst.b = http1.AppendSwitch(dst.b, header, ex.encoding(false))
	ex.switchTo = start
	cancel, wake := ex.answeredLocked()
	c.mu.Unlock()
	ex.conclude(cancel, wake)
	return true
}

// upgrade gives the connection to another protocol.
func (c *conn) upgrade(start func(*Conn) ConnHandler) {
	up := &Conn{c: c}
	c.become(phaseUpgraded)
	c.upgraded, c.exclusive = up, false
	c.stage = http1.StageIdle
	c.cur = nil
	up.handler = start(up)
	if c.loop.drained {
		up.drain()
	}
}

// feed offers input to the handler until it wants more. It returns the rest.
func (u *Conn) feed(data []byte) []byte {
	c := u.c
	c.mu.Lock()
	c.busy = true
	leaving := c.leave
	c.mu.Unlock()
	if leaving {
		return nil
	}
	n, err := u.handler.OnBytes(u, data)
	if err != nil {
		u.Close(err)
		return nil
	}
	if n == 0 {
		c.idle()
	}
	return data[n:]
}

// idle ends what feed began, because nobody flushes after input that nothing was
// taken of.
func (c *conn) idle() {
	c.mu.Lock()
	c.busy = false
	wake := c.out != nil || c.leave
	c.mu.Unlock()
	if wake {
		c.loop.notify(c, noteOutput)
	}
}

// Write queues p, which is copied, and reports [ErrCongested] if more waits for
// the peer than the limit allows, or [net.ErrClosed].
func (u *Conn) Write(p []byte) error {
	c := u.c
	c.mu.Lock()
	if c.gone || c.leave {
		c.mu.Unlock()
		return net.ErrClosed
	}
	if n := c.pendingLocked(); n > 0 && n+len(p) > c.srv.cfg.MaxOutbound {
		c.mu.Unlock()
		return ErrCongested
	}
	out := c.outLocked()
	out.b = append(out.b, p...)
	wake := !c.busy
	c.mu.Unlock()
	if wake {
		c.loop.notify(c, noteOutput)
	}
	return nil
}

// Buffered returns how many bytes the peer has not taken.
func (u *Conn) Buffered() int {
	u.c.mu.Lock()
	defer u.c.mu.Unlock()
	return u.c.pendingLocked()
}

// AskRoom asks for f to be called once, on the connection's loop, when nothing
// waits for the peer any more. It reports false, and asks for nothing, if
// nothing waits now. f must not block; it is not called when the connection goes.
func (u *Conn) AskRoom(f func()) bool {
	u.c.mu.Lock()
	defer u.c.mu.Unlock()
	return u.c.askRoomLocked(f)
}

// Resume offers input again that OnBytes left, although nothing has arrived.
func (u *Conn) Resume() { u.c.loop.notify(u.c, noteOutput) }

// Account tells the server's memory budget how many bytes of unfinished input the
// handler keeps. It may be called on the connection's loop only.
func (u *Conn) Account(bytes int) {
	u.c.mu.Lock()
	u.c.queuedBytes = bytes
	u.c.mu.Unlock()
}

// Context returns a context that is cancelled when the connection is gone and
// when the server has used up its grace period.
func (u *Conn) Context() context.Context {
	c := u.c
	c.mu.Lock()
	defer c.mu.Unlock()
	if u.ctx == nil {
		u.ctx, u.cancel = context.WithCancel(c.srv.base)
		if c.gone {
			u.cancel()
		}
	}
	return u.ctx
}

// Close ends the connection when everything that was written is sent. The first
// err is the one that OnClose gets.
func (u *Conn) Close(err error) {
	c := u.c
	c.mu.Lock()
	if u.err == nil {
		u.err = err
	}
	wake := !c.leave && !c.busy && !c.gone
	c.leave = true
	c.mu.Unlock()
	if wake {
		c.loop.notify(c, noteOutput)
	}
}

// RemoteAddr returns the address of the peer.
func (u *Conn) RemoteAddr() netip.AddrPort { return u.c.remote }

// ClientCertificates returns the verified certificate chain that the client
// showed, its own first, or nil.
func (u *Conn) ClientCertificates() []*x509.Certificate {
	if u.c.tls == nil {
		return nil
	}
	return u.c.tls.peer
}

// SetTimer asks for OnTimer after d, in place of what was asked before. 0 asks
// for none. It may be called on the connection's loop only.
func (u *Conn) SetTimer(d time.Duration) {
	u.timerAt = 0
	if d > 0 {
		u.timerAt = u.c.loop.clock + d
	}
	u.c.loop.arm(u.c, u.timerAt)
}

func (u *Conn) fire() {
	u.timerAt = 0
	if h, ok := u.handler.(TimerHandler); ok {
		h.OnTimer(u)
	}
}

func (u *Conn) drain() {
	if u.handler == nil {
		return // its start is still under way and looks at drained after it
	}
	if h, ok := u.handler.(DrainHandler); ok {
		h.OnDrain(u)
		return
	}
	u.Close(nil)
}

// due reports whether a peer that has shut its sending side is to be waited for.
// some says that output or input of it is left.
func (u *Conn) due(some bool) bool {
	h, ok := u.handler.(EndHandler)
	return ok && (h.Due() || some)
}

// ended takes leave of a peer that has shut its sending side when it waits for
// nothing any more.
func (u *Conn) ended() {
	u.c.mu.Lock()
	leaving := u.c.leave
	u.c.mu.Unlock()
	if leaving {
		return
	}
	if h, ok := u.handler.(EndHandler); ok {
		if !h.Due() {
			h.OnEnd(u)
		}
		return
	}
	u.Close(nil)
}

// closed tells the handler that the connection is gone.
func (u *Conn) closed() {
	u.c.mu.Lock()
	err, cancel := u.err, u.cancel
	u.c.mu.Unlock()
	defer u.c.srv.shield()
	if cancel != nil {
		cancel()
	}
	if u.handler != nil {
		u.handler.OnClose(err)
	}
}
