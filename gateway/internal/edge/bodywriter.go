package edge

import (
	"context"
	"errors"
	"net"
	"net/http"

	"github.com/voicemill/voicemill/gateway/internal/http1"
)

const (
	bodyHigh = 128 << 10 // output of an answer in pieces that may wait for the peer
	bodyLow  = 32 << 10  // below it one that had to wait goes on
)

// errLength means that a body does not keep to the length that was announced.
var errLength = errors.New("the body does not have the length that was announced")

// BodyWriter is an answer whose body is sent in pieces. It must be ended with End
// or Abort. Its methods are safe on any goroutine, but only one at a time may
// write.
type BodyWriter struct {
	ex      *Exchange
	chunked bool
	mute    bool  // the answer has no body: HEAD, 204, 304
	left    int64 // bytes that were announced and not written; negative if none were announced
}

// BeginBody begins an answer whose body follows. length is the size of the body in
// bytes or [http1.UnknownLength]. It returns nil if the request was answered or
// its connection is gone. The request's other answers wait until it ends.
func (ex *Exchange) BeginBody(status int, header []http1.Field, length int64) *BodyWriter {
	c := ex.c
	c.mu.Lock()
	if ex.state != exchangeOpen || ex.begun || c.gone {
		c.mu.Unlock()
		return nil
	}
	ex.begun, ex.escaped = true, true
	ex.closes = !ex.keep || c.srv.draining.Load() || length < 0 && ex.minor == 0
	w := &BodyWriter{ex: ex, left: length, mute: ex.head || status == http.StatusNoContent || status == http.StatusNotModified}
	dst := c.bufferLocked(ex)
	dst.b, w.chunked = http1.AppendOpenHead(dst.b, status, header, length, ex.encoding(ex.closes))
	wake := (c.parkLocked(ex) || c.first == ex) && !c.busy
	c.mu.Unlock()
	if wake {
		c.loop.notify(c, noteOutput)
	}
	return w
}

// Write queues p, which is copied. It returns [ErrCongested], and queues
// nothing, while too much waits for the peer; [BodyWriter.Wait] tells when to try
// again. It returns [net.ErrClosed] when the connection is gone.
func (w *BodyWriter) Write(p []byte) error {
	if len(p) == 0 || w.mute {
		return nil
	}
	c := w.ex.c
	c.mu.Lock()
	wake, err := w.writeLocked(p)
	c.mu.Unlock()
	if wake {
		c.loop.notify(c, noteOutput)
	}
	return err
}

func (w *BodyWriter) writeLocked(p []byte) (wake bool, err error) {
	ex := w.ex
	switch {
	case ex.state != exchangeOpen:
		return false, net.ErrClosed
	case w.left >= 0 && int64(len(p)) > w.left:
		return false, errLength
	}
	if n := ex.pendingLocked(); n > 0 && n+len(p) > bodyHigh {
		return false, ErrCongested
	}
	if w.left >= 0 {
		w.left -= int64(len(p))
	}
	dst := ex.c.bufferLocked(ex)
	if w.chunked {
		dst.b = http1.AppendChunk(dst.b, p)
	} else {
		dst.b = append(dst.b, p...)
	}
	return (ex.c.parkLocked(ex) || ex.c.first == ex) && !ex.c.busy, nil
}

// Wait returns nil when little waits for the peer, [net.ErrClosed] when the
// connection is gone, or the error of ctx.
func (w *BodyWriter) Wait(ctx context.Context) error {
	ex, c := w.ex, w.ex.c
	c.mu.Lock()
	if ex.state != exchangeOpen {
		c.mu.Unlock()
		return net.ErrClosed
	}
	if ex.pendingLocked() < bodyLow {
		c.mu.Unlock()
		return nil
	}
	if ex.room == nil {
		ex.room = make(chan struct{})
	}
	room := ex.room
	c.mu.Unlock()
	select {
	case <-room:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Buffered returns how many bytes wait for the peer.
func (w *BodyWriter) Buffered() int {
	w.ex.c.mu.Lock()
	defer w.ex.c.mu.Unlock()
	if w.ex.state != exchangeOpen {
		return 0
	}
	return w.ex.pendingLocked()
}

// End completes the body. If less was written than announced, the connection is
// cut, so that the client notices.
func (w *BodyWriter) End() {
	if w.left > 0 && !w.mute {
		w.Abort()
		return
	}
	ex, c := w.ex, w.ex.c
	c.mu.Lock()
	if ex.state != exchangeOpen {
		c.mu.Unlock()
		return
	}
	if w.chunked && !w.mute {
		dst := c.bufferLocked(ex)
		dst.b = http1.AppendLastChunk(dst.b)
	}
	cancel, wake := ex.answeredLocked()
	c.mu.Unlock()
	ex.conclude(cancel, wake)
}

// Abort ends the body where it is and cuts the connection, so that the client
// does not take what it got for the whole.
func (w *BodyWriter) Abort() { w.ex.Abort() }

// Abort cuts the connection of a request that has not been answered whole.
func (ex *Exchange) Abort() {
	c := ex.c
	c.mu.Lock()
	if ex.state != exchangeOpen {
		c.mu.Unlock()
		return
	}
	ex.closes, ex.cuts = true, true
	cancel, wake := ex.answeredLocked()
	c.mu.Unlock()
	ex.conclude(cancel, wake)
}

// pendingLocked is how much of the exchange's output waits.
func (ex *Exchange) pendingLocked() int {
	if ex.c.first == ex {
		return ex.c.pendingLocked()
	}
	if ex.buf == nil {
		return 0
	}
	return len(ex.buf.b)
}
