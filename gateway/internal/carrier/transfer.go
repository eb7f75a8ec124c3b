package carrier

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"time"

	"github.com/voicemill/voicemill/gateway/internal/api"
	"github.com/voicemill/voicemill/gateway/internal/edge"
	"github.com/voicemill/voicemill/gateway/internal/http1"
)

// StreamsBody implements [edge.BodyStreamer].
func (k *Carrier) StreamsBody(r *http1.Request) bool { return k.api.Streams(r.Method(), r.RawPath()) }

// Reader implements [api.Streamable].
func (x *exchange) Reader() io.Reader {
	if b := x.BodyReader(); b != nil {
		return incoming{b}
	}
	return bytes.NewReader(x.Body())
}

// incoming is a body that arrives, whose errors the API understands.
type incoming struct{ b *edge.Body }

// Read implements [io.Reader].
func (r incoming) Read(p []byte) (int, error) {
	n, err := r.b.Read(p)
	if err == nil || errors.Is(err, io.EOF) {
		return n, err
	}
	if e, ok := errors.AsType[*http1.Error](err); ok {
		return n, &api.BodyError{Status: e.Status, Public: e.Public}
	}
	if errors.Is(err, edge.ErrGraceSpent) {
		return n, &api.BodyError{Status: http.StatusServiceUnavailable, Public: "This server is stopping; try again."}
	}
	return n, &api.BodyError{Status: api.StatusLeft, Public: "The client left."}
}

// bytesIn is how much of the body has arrived.
func (x *exchange) bytesIn() int64 {
	if b := x.BodyReader(); b != nil {
		return b.Received()
	}
	return int64(len(x.Body()))
}

// outlet is the body of an answer that is sent in pieces.
type outlet struct {
	x    *exchange
	ctx  context.Context //nolint:containedctx // the exchange's own, for which io.Writer leaves no place
	out  *edge.Stream
	line entry
	sent int64
}

// Begin implements [api.Streamable].
func (x *exchange) Begin(a *api.Answer, length int64) api.Outlet {
	if !x.answered.CompareAndSwap(false, true) {
		return nil
	}
	x.call.Sending()
	o := &outlet{x: x, ctx: x.Context(), line: x.entry(a, 0)}
	o.out = x.Stream(a.Status, x.header(a), max(length, http1.StreamLength))
	x.k.metrics.of(protocolHTTP).end(o.line.route, o.line.method, a.Status, o.line.took)
	if o.out == nil {
		return nil
	}
	return o
}

// outletPiece is how much is queued at a time.
const outletPiece = 32 << 10

// Write implements [api.Outlet].
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

// End implements [api.Outlet].
func (o *outlet) End(err error) {
	if err != nil {
		o.out.Abort()
	} else {
		o.out.End()
	}
	took := time.Since(o.x.call.Started)
	o.line.setSent(o.x.bytesIn(), o.sent, took, o.x.call.Stages(took), err)
	o.x.k.log(&o.line)
}

var (
	_ api.Streamable    = (*exchange)(nil)
	_ edge.BodyStreamer = (*Carrier)(nil)
)
