package carrier

import (
	"context"
	"time"

	"github.com/voicemill/voicemill/gateway/internal/api"
)

// StreamBody implements [api.BodyStreamer].
func (x *exchange) StreamBody(a *api.Answer, b api.Body) bool {
	if !x.answered.CompareAndSwap(false, true) {
		return false
	}
	line := x.entry(a, 0)
	var sent int64 // by the one goroutine that carries the body
	next := func(ctx context.Context, dst []byte) (int, error) {
		n, err := b.Next(ctx, dst)
		sent += int64(n)
		return n, err
	}
	done := func() {
		b.Done()
		line.setBytes(sent, time.Since(x.call.Started))
		x.k.log(&line)
	}
	if !x.RespondStream(a.Status, x.header(a), b.Length, next, done) {
		x.answered.Store(false) // for the answer that says so
		return false
	}
	x.k.metrics.of(protocolHTTP).end(line.route, line.method, a.Status, line.took)
	return true
}

var _ api.BodyStreamer = (*exchange)(nil)
