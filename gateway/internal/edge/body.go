package edge

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/voicemill/voicemill/gateway/internal/http1"
	"github.com/voicemill/voicemill/platform/lifecycle"
)

// ringBytes is how much of a streamed body waits in memory for its reader.
const ringBytes = 64 << 10

// EarlyReader is a [Handler] that reads some bodies while they arrive.
type EarlyReader interface {
	Handler
	// ReadsEarly reports whether the handler reads the body of r with
	// [Exchange.BodyReader]. It is called on the event loop when the head of a request
	// with a body is complete, and must not keep r.
	ReadsEarly(r *http1.Request) bool
}

var (
	errLate     = &http1.Error{Status: http.StatusRequestTimeout, Public: "The request did not arrive in time."}
	errCutShort = &http1.Error{Status: http.StatusBadRequest, Public: "The body ended early."}
)

// Body is the body of a request that is read while it arrives. Once 64 KiB wait
// for the reader, nothing more is read from the socket, so that the client has
// to wait, too. One goroutine at a time may read it.
type Body struct {
	ex    *Exchange
	ready lifecycle.Signal // the reader may find something new

	// On the loop.
	expects bool          // the client waits for 100 (Continue)
	since   time.Duration // when the client began to be waited for; 0 while it is not
	waited  time.Duration // for how long it was before that

	// Under the connection's mu.
	ring     *ring // nil when empty
	at, n    int   // where the bytes that wait begin, and how many there are
	full     bool  // the loop holds back input until half of the ring is free
	wanted   bool  // somebody reads
	received int64
	err      error // what follows the bytes that wait; io.EOF after the whole body
}

type ring [ringBytes]byte

// rings recycles the memory of bodies. It is safe for concurrent use.
type rings struct{ pool sync.Pool }

func (p *rings) get() *ring {
	if r, ok := p.pool.Get().(*ring); ok {
		return r
	}
	return new(ring)
}

func (p *rings) put(r *ring) {
	if r != nil {
		p.pool.Put(r)
	}
}

// BodyReader returns the body of a request that is streamed, see [EarlyReader], and
// nil if the body is whole in the request.
func (ex *Exchange) BodyReader() *Body { return ex.body }

// Carry counts a body that goes on for as long as its client reads or writes, until
// done is called. It reports false if as many are under way as may; the caller then
// answers 503.
func (ex *Exchange) Carry() (done func(), ok bool) {
	s := ex.c.srv
	if s.stats.Bodies.Add(1) > int64(s.cfg.MaxBodies) {
		s.stats.Bodies.Add(-1)
		s.stats.ShedBodies.Add(1)
		return nil, false
	}
	ex.escape()
	return func() { s.stats.Bodies.Add(-1) }, true
}

// Read reads what has arrived, and waits if that is nothing. Its first call is
// what asks a client for the body that sent Expect: 100-continue. The error is
// [io.EOF] after the whole body, an [*http1.Error] if it is malformed, late or
// cut short, [net.ErrClosed] when the client is gone or was answered, or the
// cause of the exchange's context.
func (b *Body) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	ctx := b.ex.Context()
	for {
		n, err := b.take(p)
		if n > 0 || err != nil {
			return n, err
		}
		select {
		case <-b.ready:
		case <-ctx.Done():
			if n, err := b.take(p); n > 0 || err != nil {
				return n, err
			}
			return 0, context.Cause(ctx)
		}
	}
}

// Received returns how many bytes of the body have arrived.
func (b *Body) Received() int64 {
	b.ex.c.mu.Lock()
	defer b.ex.c.mu.Unlock()
	return b.received
}

// take reads without waiting; 0 and nil mean that nothing is there.
func (b *Body) take(p []byte) (n int, err error) {
	c := b.ex.c
	c.mu.Lock()
	n, wake, err := b.takeLocked(p)
	c.mu.Unlock()
	if wake {
		c.loop.notify(c, noteOutput)
	}
	return n, err
}

func (b *Body) takeLocked(p []byte) (n int, wake bool, err error) {
	c := b.ex.c
	if b.ex.state != exchangeOpen {
		return 0, false, net.ErrClosed
	}
	for n < len(p) && b.n > 0 {
		m := copy(p[n:], b.ring[b.at:min(b.at+b.n, ringBytes)])
		n += m
		b.n -= m
		b.at = (b.at + m) % ringBytes
	}
	if b.n == 0 {
		b.releaseLocked()
	}
	if n == 0 {
		wake = !b.wanted && b.err == nil
		b.wanted = true
		return 0, wake && !c.busy, b.err
	}
	if b.full && b.n <= ringBytes/2 {
		b.full, wake = false, true
	}
	return n, wake && !c.busy, nil
}

// releaseLocked gives the memory back.
func (b *Body) releaseLocked() {
	b.ex.c.srv.rings.put(b.ring)
	b.ring, b.at, b.n = nil, 0, 0
}

// putLocked adds p, for which there is room.
func (b *Body) putLocked(p []byte) {
	if len(p) == 0 {
		return
	}
	if b.ring == nil {
		b.ring = b.ex.c.srv.rings.get()
	}
	b.received += int64(len(p))
	for len(p) > 0 {
		end := (b.at + b.n) % ringBytes
		m := copy(b.ring[end:min(end+ringBytes-b.n, ringBytes)], p)
		b.n += m
		p = p[m:]
	}
}

// whole reports whether all of the body has arrived; under the connection's mu.
func (b *Body) whole() bool { return errors.Is(b.err, io.EOF) }

// beginBody makes a request whose head is complete one that is read while its
// body arrives. Requests behind it wait for its answer.
func (c *conn) beginBody(ex *Exchange) {
	ex.req.Detach()
	b := &Body{ex: ex, ready: lifecycle.NewSignal(), expects: ex.req.ExpectContinue()}
	ex.body, c.body = b, b
	c.mu.Lock()
	ex.escaped = true
	c.mu.Unlock()
}

// readBody gives input to the body that is being read, as far as there is room
// for it, and returns the rest.
func (c *conn) readBody(data []byte) []byte {
	b := c.body
	var err error
	before := len(data)
	c.mu.Lock()
	for len(data) > 0 && b.err == nil {
		room := ringBytes - b.n
		if b.full || room == 0 {
			b.full = true
			break
		}
		n, piece, done, perr := c.parser.ReadBody(data[:min(len(data), room)])
		data = data[n:]
		b.putLocked(piece)
		if err = perr; err != nil {
			b.err = err
		} else if done {
			b.err = io.EOF
		}
	}
	ended := b.err != nil
	c.mu.Unlock()
	if len(data) < before {
		c.clockBody(b)
	}
	if ended {
		c.body, c.interim, c.continued = nil, false, false
	}
	b.ready.Raise()
	if err != nil {
		c.noMore = true
		c.discards += len(data) + 1
		c.srv.stats.Refused.Add(1)
		return nil
	}
	return data
}

// clockBody notes that some of the body has arrived.
func (c *conn) clockBody(b *Body) {
	if b.since > 0 {
		b.waited += c.loop.clock - b.since
		b.since = 0
	}
	b.ex.readAt = c.loop.clock
	b.expects = false // who sends does not wait
}

// failBody ends a body that does not arrive whole. Its reader is told and
// answers.
func (c *conn) failBody(err error) {
	b := c.body
	c.body, c.noMore, c.interim = nil, true, false
	c.discards++
	c.mu.Lock()
	b.err = err
	c.mu.Unlock()
	b.ready.Raise()
}

// leaveBodyLocked ends the reading of a body whose request was answered before
// the end of it.
func (c *conn) leaveBodyLocked() {
	if b := c.body; b != nil && b.ex.state != exchangeOpen {
		c.body, c.noMore = nil, true
		c.discards++
	}
}

// starved reports whether the connection waits for its client to send more of a
// body. It keeps the time.
func (c *conn) starved() bool {
	b := c.body
	c.mu.Lock()
	waits := !b.full && (!b.expects || c.continued)
	c.mu.Unlock()
	if waits && b.since == 0 {
		b.since = c.loop.clock
	}
	return waits
}

// bodyDeadline is when a client that sends too slowly, or a reader that does not
// read, has had enough time.
func (c *conn) bodyDeadline() (time.Duration, action) {
	if !c.starved() {
		return c.answerDeadline()
	}
	b, cfg := c.body, &c.srv.cfg
	c.mu.Lock()
	received := b.received
	c.mu.Unlock()
	earned := cfg.BodyTimeout + time.Duration(received/int64(cfg.BodyRate))*time.Second
	return b.since + min(cfg.BodyStall, earned-b.waited), actLate
}
