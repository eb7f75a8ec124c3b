package edge

import (
	"container/list"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"sync"
	"time"
)

const (
	recordHandshake = 0x16     // first byte of a TLS connection
	handshakeBytes  = 64 << 10 // input above which none is read before the handshake is over
	plainBytes      = 16 << 10 // the plain text of the largest record
)

// tlsLayer is TLS between a connection and its socket, done by crypto/tls.
//
// The handshake blocks, so it runs on a goroutine, which the loop feeds. After
// it the loop owns the layer: it gives what gnet has read to tls.Conn.Read until
// nothing is left. No call gets bytes of two records, so crypto/tls never keeps a
// whole one, and the loop need not ask for plain text that cannot be there. If a
// record is not whole, the layer reports an expired deadline, which crypto/tls
// takes as a reason to try again later. Output is collected on the connection's
// wire and never fails.
type tlsLayer struct {
	c      *conn
	tls    *tls.Conn
	peer   []*x509.Certificate
	steady bool // the handshake is over; on the loop
	bye    bool // close_notify was sent; on the loop
	began  time.Time
	place  *list.Element // under the server's handshakes.mu; nil if not among them

	mu    sync.Mutex
	more  sync.Cond
	in    []byte  // input that was not read; without mu once steady
	cut   records // where those of in end
	ended bool    // no more input will come
	idle  bool    // the handshake waits for its client
	done  bool    // the handshake goroutine has ended
	err   error   // how
}

// startTLS begins a handshake whose first bytes are data.
func (c *conn) startTLS(data []byte) {
	s := c.srv
	if s.stats.Handshakes.Add(1) > int64(s.cfg.MaxHandshakes) {
		s.stats.ShedHandshakes.Add(1)
		if !s.handshakes.evict(c.loop.now.Add(-s.cfg.HandshakeStall)) {
			s.stats.Handshakes.Add(-1)
			c.close()
			return
		}
	}
	t := &tlsLayer{c: c, began: c.loop.now}
	t.more.L = &t.mu
	t.tls = tls.Server(t, s.certs.base)
	c.tls, c.stageAt = t, c.loop.clock
	c.become(phaseHandshake)
	t.offer(data)
	s.handshakes.add(t)
	if !s.handshakers.run(func() {
		defer s.stats.Handshakes.Add(-1)
		defer s.handshakes.remove(t)
		t.handshake()
	}) {
		s.handshakes.remove(t)
		s.stats.Handshakes.Add(-1)
		c.close()
	}
}

func (t *tlsLayer) handshake() {
	s := t.c.srv
	ctx, cancel := context.WithTimeout(s.base, s.cfg.HandshakeTimeout)
	defer cancel()
	err := func() (err error) {
		defer func() {
			if r := recover(); r != nil {
				s.panicked(r, "handshake")
				err = errors.New("handshake panicked")
			}
		}()
		return t.tls.HandshakeContext(ctx)
	}()
	t.mu.Lock()
	t.done, t.err = true, err
	t.mu.Unlock()
	t.c.loop.notify(t.c, noteHandshake)
}

// feedHandshake gives input to the handshake. A client may send requests right
// behind it, which wait for the goroutine to be done: when there are too many,
// no more is read until then.
func (c *conn) feedHandshake(data []byte) {
	n := c.tls.offer(data)
	if n <= handshakeBytes || c.g == nil {
		return
	}
	c.moveOff()
	if c.g != nil && n > c.srv.cfg.MaxBacklog { // there was no descriptor to spare
		c.srv.stats.CutBacklog.Add(1)
		c.close()
	}
}

// offer gives input to the handshake and returns how much waits.
func (t *tlsLayer) offer(data []byte) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.in = append(t.in, data...)
	t.more.Signal()
	return len(t.in)
}

// waits reports whether the handshake waits for its client.
func (t *tlsLayer) waits() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.idle && len(t.in) == 0
}

// end tells the handshake that the connection is gone.
func (t *tlsLayer) end() {
	t.mu.Lock()
	t.ended = true
	t.mu.Unlock()
	t.more.Broadcast()
}

// handshakeOver runs on the loop when the handshake is over.
func (c *conn) handshakeOver() {
	t := c.tls
	t.mu.Lock()
	done, err := t.done, t.err
	t.mu.Unlock()
	if !done || t.steady || c.phase != phaseHandshake {
		return
	}
	if err != nil {
		c.srv.stats.FailedHandshakes.Add(1)
		c.srv.log.LogAttrs(c.srv.base, slog.LevelDebug, "handshake failed",
			slog.String("remote", c.remote.String()), slog.Any("error", err))
		t.bye = true // the alert is all there is to say
		c.abandon()
		return
	}
	c.mu.Lock()
	raw := c.raw // the end of the handshake goes before anything else
	c.raw = nil
	c.mu.Unlock()
	if raw != nil {
		c.send(raw)
	}
	t.steady = true
	t.peer = t.tls.ConnectionState().PeerCertificates
	if c.srv.cfg.Frames != nil {
		c.become(phaseSniff)
	} else {
		c.become(phaseHTTP)
	}
	c.acceptedAt, c.lastUse = c.loop.clock, c.loop.clock
	left := t.in
	t.in = nil
	c.decrypt(left)
}

// decrypt gives input to the layer and what it yields to the protocol.
func (c *conn) decrypt(data []byte) {
	t, l := c.tls, c.loop
	if l.plain == nil {
		l.plain = make([]byte, plainBytes)
	}
	t.in = data
	for len(t.in) > 0 && c.phase != phaseClosed {
		n, err := t.tls.Read(l.plain)
		if n > 0 {
			c.input(l.plain[:n])
		}
		if err == nil {
			continue
		}
		c.endOfRecords(err)
		break
	}
	t.in = nil
	c.push()
}

// endOfRecords runs when crypto/tls gives no more plain text.
func (c *conn) endOfRecords(err error) {
	switch {
	case err == os.ErrDeadlineExceeded: //nolint:errorlint // it is the layer's own, and comes often
	case errors.Is(err, io.EOF):
		c.endOfPlain()
	default:
		c.tls.bye = true // crypto/tls has put the alert on the wire
		c.abandon()
	}
}

// endOfPlain runs when the peer said close_notify: like a client that shuts its
// sending side, it may wait for answers.
func (c *conn) endOfPlain() {
	if c.eof || c.phase == phaseClosed {
		return
	}
	c.eof = true
	c.afterEnd()
}

// abandon sends what is on the wire, an alert, and no answers any more.
func (c *conn) abandon() {
	c.noMore = true
	c.discards++
	c.mu.Lock()
	c.leave = true
	c.out = nil
	c.mu.Unlock()
}

// encrypt puts plain output on the wire.
func (t *tlsLayer) encrypt(plain []byte) error {
	_, err := t.tls.Write(plain)
	return err
}

// farewell puts close_notify on the wire, once.
func (t *tlsLayer) farewell() {
	if t.bye || !t.steady {
		return
	}
	t.bye = true
	_ = t.tls.CloseWrite()
}

// Read implements net.Conn for crypto/tls.
func (t *tlsLayer) Read(p []byte) (int, error) {
	if t.steady {
		if len(t.in) == 0 {
			return 0, os.ErrDeadlineExceeded
		}
		return t.take(p), nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for len(t.in) == 0 {
		if t.ended {
			return 0, io.EOF
		}
		t.idle = true
		t.more.Wait()
		t.idle = false
	}
	return t.take(p), nil
}

// take moves input to p, of one record at most.
func (t *tlsLayer) take(p []byte) int {
	n := copy(p, t.in[:t.cut.next(t.in, len(p))])
	t.in = t.in[n:]
	return n
}

// Write implements net.Conn for crypto/tls. It never fails: a write error would
// be final.
func (t *tlsLayer) Write(p []byte) (int, error) {
	c := t.c
	if t.steady {
		c.wireBuffer().b = append(c.wire.b, p...)
		return len(p), nil
	}
	c.mu.Lock()
	if c.gone {
		c.mu.Unlock()
		return len(p), nil
	}
	if c.raw == nil {
		c.raw = c.srv.buffers.get()
	}
	c.raw.b = append(c.raw.b, p...)
	c.mu.Unlock()
	c.loop.notify(c, noteOutput)
	return len(p), nil
}

// Close implements net.Conn. crypto/tls calls it when a handshake takes too long.
func (t *tlsLayer) Close() error {
	t.end()
	return nil
}

// LocalAddr implements net.Conn.
func (t *tlsLayer) LocalAddr() net.Addr { return t.c.srv.Addr() }

// RemoteAddr implements net.Conn.
func (t *tlsLayer) RemoteAddr() net.Addr { return net.TCPAddrFromAddrPort(t.c.remote) }

// SetDeadline implements net.Conn; time-outs are the connection's.
func (*tlsLayer) SetDeadline(time.Time) error { return nil }

// SetReadDeadline implements net.Conn; time-outs are the connection's.
func (*tlsLayer) SetReadDeadline(time.Time) error { return nil }

// SetWriteDeadline implements net.Conn; time-outs are the connection's.
func (*tlsLayer) SetWriteDeadline(time.Time) error { return nil }

// Secure reports whether the request came over TLS.
func (ex *Exchange) Secure() bool { return ex.c.tls != nil }

// ClientCertificates returns the verified certificate chain that the client
// showed, its own first, or nil.
func (ex *Exchange) ClientCertificates() []*x509.Certificate {
	if ex.c.tls == nil {
		return nil
	}
	return ex.c.tls.peer
}

// Reload reads the certificates and authorities again, for new connections. If
// any of them is not usable the old ones stay and the error says why.
func (s *Server) Reload() error {
	if s.certs == nil {
		return ErrNoTLS
	}
	return s.certs.reload()
}

// SetTicketKeys replaces the ticket keys, of which there is at least one, as
// [TLS] has them. It does nothing without TLS.
func (s *Server) SetTicketKeys(keys [][32]byte) {
	if s.certs != nil {
		s.certs.base.SetSessionTicketKeys(keys)
	}
}
