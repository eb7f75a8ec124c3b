package web

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"time"

	"github.com/voicemill/voicemill/gateway/internal/accesslog"
	"github.com/voicemill/voicemill/gateway/internal/edge"
	"github.com/voicemill/voicemill/gateway/internal/http1"
	"github.com/voicemill/voicemill/gateway/internal/operation"
	"github.com/voicemill/voicemill/gateway/internal/problem"
	"github.com/voicemill/voicemill/gateway/internal/stage"
)

var (
	errPanic = errors.New("web: a handler panicked")
	errLeft  = errors.New("web: the client left")
)

// carry takes the place of a body that goes on for as long as its client reads or
// writes.
func (c *Call) carry() (done func(), err error) {
	release, err := c.s.ops.OccupyBody(&c.caller)
	if err != nil {
		return nil, err
	}
	carried, ok := c.Carry()
	if !ok {
		release()
		return nil, operation.BodiesFull()
	}
	return func() { carried(); release() }, nil
}

// reader returns the body as it arrives. A client that expects 100 (Continue) gets it
// when it is first read, which must be before Begin. An error is a problem unless it is
// io.EOF, after the whole body.
func (c *Call) reader() io.Reader {
	if b := c.BodyReader(); b != nil {
		return incoming{b}
	}
	return bytes.NewReader(c.Body())
}

// incoming is a body that arrives.
type incoming struct{ b *edge.Body }

// Read implements [io.Reader].
func (r incoming) Read(p []byte) (int, error) {
	n, err := r.b.Read(p)
	if err == nil || errors.Is(err, io.EOF) {
		return n, err
	}
	if e, ok := errors.AsType[*http1.Error](err); ok {
		return n, problem.OfStatus(e.Status, e.Public)
	}
	if errors.Is(err, edge.ErrGraceSpent) {
		return n, problem.OfStatus(http.StatusServiceUnavailable, "This server is stopping; try again.")
	}
	return n, problem.OfStatus(statusLeft, "The client left.")
}

// bytesIn is how much of the body has arrived.
func (c *Call) bytesIn() int64 {
	if b := c.BodyReader(); b != nil {
		return b.Received()
	}
	return int64(len(c.Request.Body()))
}

// outlet is the body of an answer that is sent in pieces.
type outlet struct {
	c      *Call
	ctx    context.Context //nolint:containedctx // the call's own, for which io.Writer leaves no place
	out    *edge.BodyWriter
	status int
	sent   int64
	done   func() // is called at the end; may be nil
}

// Begin answers with a, whose body follows: length bytes, or as many as come if
// length is negative. The outlet must be ended. Begin returns nil if the client is
// gone.
func (c *Call) Begin(a *Answer, length int64) *outlet {
	ctx := c.Context()
	out := c.begin(a.Status, c.header(a), max(length, http1.UnknownLength))
	if out == nil {
		return nil
	}
	return &outlet{c: c, ctx: ctx, out: out, status: a.Status}
}

// begin sends the head of an answer that goes on, and counts the call.
func (c *Call) begin(status int, header []http1.Field, length int64) *edge.BodyWriter {
	out := c.BeginBody(status, header, length)
	if out != nil {
		c.begun = true
		c.clock.Turn(stage.Send)
		c.s.metrics.End(c.pattern(), c.Method(), status, time.Since(c.caller.Started))
	}
	return out
}

// outletPiece is how much is queued at a time.
const outletPiece = 32 << 10

// Write implements [io.Writer]. It waits while much waits for the client.
func (o *outlet) Write(p []byte) (n int, err error) {
	for n < len(p) {
		if err := o.out.Wait(o.ctx); err != nil {
			return n, err
		}
		m := min(outletPiece, len(p)-n)
		switch err := o.out.Write(p[n : n+m]); {
		case errors.Is(err, edge.ErrCongested):
		case err != nil:
			return n, err
		default:
			n += m
			o.sent += int64(m)
		}
	}
	return n, nil
}

// End completes the body. With an error it cuts the connection instead, so that the
// client does not take what it got for the whole.
func (o *outlet) End(err error) {
	if err != nil {
		o.out.Abort()
	} else {
		o.out.End()
	}
	if o.done != nil {
		o.done()
	}
	took := time.Since(o.c.caller.Started)
	o.c.log(&accesslog.Record{Status: o.status, Took: took, BytesOut: o.sent, Events: -1, Stages: o.c.clock.Attr(took), Err: err})
}
