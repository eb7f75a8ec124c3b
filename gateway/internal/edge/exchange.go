package edge

import (
	"context"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/voicemill/voicemill/gateway/internal/http1"
)

// Handler serves requests. ServeEdge runs on an event loop and must not block:
// it answers from memory, or calls [Exchange.Detach], keeps the exchange and
// lets another goroutine answer. It is called concurrently, once per loop at
// most.
type Handler interface {
	ServeEdge(ex *Exchange)
}

// HandlerFunc is a function that is a [Handler].
type HandlerFunc func(ex *Exchange)

// ServeEdge calls f.
func (f HandlerFunc) ServeEdge(ex *Exchange) { f(ex) }

// parkedStep is by how much the answers of a connection that others must go before
// may grow until its loop is told, which counts them.
const parkedStep = 16 << 10

// largeBody is the size from which copying a body may not keep the loop waiting.
const largeBody = 16 << 10

type exchangeState uint8

const (
	exchangeOpen     exchangeState = iota // in the queue, no answer yet
	exchangeAnswered                      // its answer waits for those before it
	exchangeDone                          // its answer is in the connection's output
	exchangeLost                          // its connection is gone
)

// Exchange is one request and its answer. Once ServeEdge has returned and the
// exchange was answered, it must not be used any more: its memory may serve the
// next request. All methods but Request are safe on any goroutine.
type Exchange struct {
	// Scratch belongs to the handler. It is kept when the exchange's memory serves
	// the next request, so that what a handler needs for a request can be, too.
	Scratch any

	req http1.Request
	c   *conn

	started    time.Time
	readAt     time.Duration
	minor      uint8
	head       bool
	keep       bool
	upgradable bool
	body       *Body // if it is streamed

	settled atomic.Bool // answered, out of the queue, and no goroutine is inside a method

	// Under c.mu.
	next     *Exchange
	state    exchangeState
	held     int     // bytes of the detached request
	escaped  bool    // not to be recycled
	overdue  bool    // the time for the answer was up
	closes   bool    // the connection ends after this answer
	cuts     bool    // and without lingering: the answer is incomplete
	begun    bool    // the head is out, the body is on its way
	buf      *buffer // the answer, while others must go first
	parked   int     // its bytes, as the connection counts them
	switchTo func(*Conn) ConnHandler
	room     chan struct{}   // closed when a body that had to wait may go on
	ctx      context.Context //nolint:containedctx // made on demand, for handlers that leave the loop
	cancel   context.CancelFunc
}

// Request returns the request. It is valid until ServeEdge returns, or for as
// long as the exchange if [Exchange.Detach] was called before that.
func (ex *Exchange) Request() *http1.Request { return &ex.req }

// Local returns a place for what the handler keeps on this event loop. Only
// ServeEdge may use it.
func (ex *Exchange) Local() *any { return &ex.c.loop.local }

// Detach copies the request into memory of its own. A handler calls it on the
// loop, before it gives the exchange to another goroutine that reads the request.
func (ex *Exchange) Detach() {
	ex.escape()
	ex.req.Detach()
}

// escape notes that another goroutine may hold the exchange for good, so that
// its memory is not used again.
func (ex *Exchange) escape() {
	ex.c.mu.Lock()
	ex.escaped = true
	ex.c.mu.Unlock()
}

// RemoteAddr returns the address of the peer. It stays valid after the
// connection is gone.
func (ex *Exchange) RemoteAddr() netip.AddrPort { return ex.c.remote }

// Started returns when the request was complete.
func (ex *Exchange) Started() time.Time { return ex.started }

// Respond answers the request. It copies r: the caller may reuse its memory at
// once. Answers leave in the order of the requests. Only the first answer
// counts; after that, and after the connection is gone, Respond does nothing.
func (ex *Exchange) Respond(r http1.Response) {
	if cancel, wake, ok := ex.respond(&r); ok {
		ex.conclude(cancel, wake)
	}
}

func (ex *Exchange) respond(r *http1.Response) (cancel context.CancelFunc, wake, ok bool) {
	c := ex.c
	e := ex.encoding(!ex.keep || r.Close || c.srv.draining.Load() || ex.unread())
	var large *buffer
	if len(r.Body) > largeBody { // copied before the loop could have to wait for it
		large = c.srv.buffers.get()
		large.b = http1.AppendResponse(large.b, r, e)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if ex.state != exchangeOpen || ex.begun {
		c.srv.buffers.put(large)
		return nil, false, false
	}
	ex.closes = e.Close
	switch {
	case large == nil:
		dst := c.bufferLocked(ex)
		dst.b = http1.AppendResponse(dst.b, r, e)
	case c.first == ex && c.out == nil:
		c.out = large
	default:
		dst := c.bufferLocked(ex)
		dst.b = append(dst.b, large.b...)
		c.srv.buffers.put(large)
	}
	cancel, wake = ex.answeredLocked()
	return cancel, wake, true
}

func (ex *Exchange) encoding(closes bool) http1.Encoding {
	return http1.Encoding{Date: ex.c.srv.date.Last(), Head: ex.head, Minor: int(ex.minor), Close: closes}
}

// answeredLocked takes the exchange, and those behind it that were waiting for
// it, out of the queue. The result wake says that the loop must be told.
func (ex *Exchange) answeredLocked() (cancel context.CancelFunc, wake bool) {
	c := ex.c
	ex.state = exchangeAnswered
	ex.endBodyLocked()
	cancel, ex.cancel = ex.cancel, nil
	if c.first == ex {
		c.advanceLocked()
	}
	return cancel, (c.parkLocked(ex) || ex.state == exchangeDone) && !c.busy
}

// unread reports whether the body has not arrived whole, so that the connection
// cannot go on after the answer.
func (ex *Exchange) unread() bool {
	if ex.body == nil {
		return false
	}
	ex.c.mu.Lock()
	defer ex.c.mu.Unlock()
	return !ex.body.whole()
}

// endBodyLocked lets go of a body when its request was answered.
func (ex *Exchange) endBodyLocked() {
	if b := ex.body; b != nil {
		ex.closes = ex.closes || !b.whole()
		b.releaseLocked()
	}
}

// conclude is the last thing that a method which answers does.
func (ex *Exchange) conclude(cancel context.CancelFunc, wake bool) {
	c := ex.c
	if cancel != nil {
		cancel()
	}
	if wake {
		c.loop.notify(c, noteOutput)
	}
	ex.settled.Store(true)
}

// giveUp answers in place of a handler that does not. Its context says so.
func (ex *Exchange) giveUp() {
	c := ex.c
	r := c.refusal(ex, 503, "The request was not answered in time.")
	c.mu.Lock()
	ex.overdue = !ex.begun
	c.mu.Unlock()
	if cancel, _, ok := ex.respond(&r); ok && cancel != nil {
		cancel()
	}
}

// tell calls every f.
func (s *Server) tell(told []func()) {
	for _, f := range told {
		func() {
			defer s.shield()
			f()
		}()
	}
}

// lost tells whoever holds the exchange that the connection is gone.
func (ex *Exchange) lost() {
	c := ex.c
	c.mu.Lock()
	ex.state = exchangeLost
	if ex.room != nil {
		close(ex.room)
		ex.room = nil
	}
	cancel := ex.cancel
	ex.cancel = nil
	ex.endBodyLocked()
	c.unparkLocked(ex)
	c.mu.Unlock()
	if cancel != nil {
		cancel()
	}
}

// Gone reports whether nobody waits for an answer any more: the client is gone, or
// was answered.
func (ex *Exchange) Gone() bool {
	ex.c.mu.Lock()
	defer ex.c.mu.Unlock()
	return ex.state != exchangeOpen || ex.c.gone
}

// Overdue reports whether the time for the answer was up, so that the client got
// 503 in its place.
func (ex *Exchange) Overdue() bool {
	ex.c.mu.Lock()
	defer ex.c.mu.Unlock()
	return ex.overdue
}

// Context returns a context that is cancelled when the client goes away, when
// the request was answered, and when the server has used up its grace period.
func (ex *Exchange) Context() context.Context {
	c := ex.c
	c.mu.Lock()
	defer c.mu.Unlock()
	ex.escaped = true
	if ex.ctx == nil {
		ex.ctx, ex.cancel = context.WithCancel(c.srv.base)
		if ex.state != exchangeOpen || c.gone {
			ex.cancel()
			ex.cancel = nil
		}
	}
	return ex.ctx
}

// reset makes the exchange ready for another request.
func (ex *Exchange) reset() {
	ex.c, ex.next, ex.buf, ex.switchTo, ex.body = nil, nil, nil, nil, nil
	ex.ctx, ex.cancel = nil, nil
	ex.state, ex.closes, ex.begun, ex.upgradable = exchangeOpen, false, false, false
	ex.escaped, ex.overdue, ex.held = false, false, 0
	ex.head, ex.keep = false, false
	ex.settled.Store(false)
}

// spent reports whether an exchange that is settled can serve another request.
func (ex *Exchange) spent() bool {
	ex.c.mu.Lock()
	defer ex.c.mu.Unlock()
	return ex.state == exchangeDone && !ex.escaped
}
