package carrier

import (
	"bytes"
	"context"
	"log/slog"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"github.com/voicemill/voicemill/gateway/internal/api"
	"github.com/voicemill/voicemill/gateway/internal/edge"
	"github.com/voicemill/voicemill/gateway/internal/trace"
	"github.com/voicemill/voicemill/job"
)

// entry is what the access log says of one request. It holds no memory of the request.
type entry struct {
	method, route string
	took          time.Duration
	attrs         []slog.Attr // nil if nobody reads the log
}

// entry describes a request whose answer goes on, before its memory is given back.
func (x *exchange) entry(a *api.Answer, bytesOut int) entry {
	e := x.outcome(time.Now())
	if x.k.access.Enabled(context.Background(), slog.LevelInfo) { //nolint:forbidigo // asks for the level only
		e.attrs = x.attrs(a, &e, bytesOut, 0)
	}
	return e
}

// plainEntry is entry for a request that is over, whose line may be left out.
func (x *exchange) plainEntry(a *api.Answer, bytesOut int) entry {
	now := time.Now()
	e := x.outcome(now)
	if left, wanted := x.k.wants(a.Status, e.took, now); wanted {
		e.attrs = append(x.attrs(a, &e, bytesOut, left), x.call.Stages(e.took))
	}
	return e
}

// left ends a request whose client did not wait for the answer, or whose time for
// it was up.
func (x *exchange) left() {
	if !x.answered.CompareAndSwap(false, true) {
		return
	}
	a := api.Answer{Status: api.StatusLeft}
	if x.Overdue() {
		a.Status = http.StatusServiceUnavailable
	}
	now := time.Now()
	e := x.outcome(now)
	x.k.metrics.of(protocolHTTP).end(e.route, e.method, a.Status, e.took)
	if left, wanted := x.k.wants(a.Status, e.took, now); wanted {
		e.attrs = x.attrs(&a, &e, 0, left) // without stages: the call may be busy in one
	}
	x.k.log(&e)
}

func (x *exchange) outcome(now time.Time) entry {
	return entry{method: x.Method(), route: x.call.Route, took: now.Sub(x.call.Started)}
}

// attrs is the line of one request. It holds no memory of the request.
func (x *exchange) attrs(a *api.Answer, e *entry, bytesOut int, left uint64) []slog.Attr {
	id := &x.call.Identity
	attrs := append(make([]slog.Attr, 0, 22),
		slog.String("method", e.method), slog.String("route", e.route), slog.String("path", string(x.RawPath())),
		slog.Int("status", a.Status), slog.Duration("duration", e.took),
		slog.Int64("bytes_in", x.bytesIn()), slog.Int("bytes_out", bytesOut),
		slog.String("tenant", string(id.Tenant)), slog.String("key_id", id.KeyID), slog.String("request_id", string(x.id)),
		slog.String("remote", x.RemoteAddr().String()), slog.String("client_ip", x.clientIP().String()), slog.String("protocol", protocolHTTP))
	if ua := x.Header("user-agent"); ua != nil {
		attrs = append(attrs, slog.String("user_agent", string(ua)))
	}
	if tp := x.call.Traceparent; tp != "" {
		attrs = append(attrs, slog.String("trace_id", trace.ID(tp)))
	}
	attrs = appendFailure(attrs, a)
	if left > 0 {
		attrs = append(attrs, slog.Uint64("left_out", left))
	}
	return attrs
}

// appendFailure says what went wrong: what the client was told, and why.
func appendFailure(attrs []slog.Attr, a *api.Answer) []slog.Attr {
	if a.Problem != nil {
		attrs = append(attrs, slog.String("problem", strings.TrimPrefix(a.Problem.Type, "/problems/")))
	}
	if a.Err != nil {
		attrs = append(attrs, slog.String("error_kind", job.KindOf(a.Err).String()), slog.Any("error", a.Err))
	}
	return attrs
}

// logRefusal writes the line of a request that never became a call. Nothing in it
// was understood, so that it is known by its peer alone.
func (k *Carrier) logRefusal(refused *edge.Refused, a *api.Answer) {
	left, wanted := k.wants(a.Status, 0, time.Now())
	if !wanted {
		return
	}
	attrs := append(make([]slog.Attr, 0, 10),
		slog.String("route", noRoute), slog.Int("status", a.Status), slog.Int("bytes_out", len(a.Bytes())),
		slog.String("request_id", a.Problem.RequestID), slog.String("remote", refused.Remote.String()),
		slog.String("client_ip", refused.Remote.Addr().Unmap().String()), slog.String("protocol", protocolHTTP),
		slog.String("reason", refused.Public))
	attrs = appendFailure(attrs, a)
	if left > 0 {
		attrs = append(attrs, slog.Uint64("left_out", left))
	}
	k.access.LogAttrs(context.Background(), slog.LevelInfo, "request", attrs...) //nolint:forbidigo // it has no context
}

// clientIP is the peer, or who it speaks for if it is a proxy that is trusted.
func (x *exchange) clientIP() netip.Addr {
	peer := x.RemoteAddr().Addr()
	if !x.k.proxies.Trusts(peer) {
		return peer.Unmap()
	}
	var forwarded, xff []string
	for name, value := range x.Headers() {
		switch {
		case bytes.EqualFold(name, []byte("forwarded")):
			forwarded = append(forwarded, string(value))
		case bytes.EqualFold(name, []byte("x-forwarded-for")):
			xff = append(xff, string(value))
		}
	}
	return x.k.proxies.Resolve(peer, forwarded, xff)
}

// setEvents notes how many events the answer had in the end, and how long it took.
func (e *entry) setEvents(n uint64, took time.Duration, stages slog.Attr) {
	for i := range e.attrs {
		if e.attrs[i].Key == "duration" {
			e.attrs[i] = slog.Duration("duration", took)
		}
	}
	e.attrs = append(e.attrs, slog.Uint64("events", n), stages)
}

// setSent notes what a body that was sent in pieces came to.
func (e *entry) setSent(in, out int64, took time.Duration, stages slog.Attr, err error) {
	if e.attrs == nil {
		return
	}
	for i := range e.attrs {
		switch e.attrs[i].Key {
		case "duration":
			e.attrs[i] = slog.Duration("duration", took)
		case "bytes_in":
			e.attrs[i] = slog.Int64("bytes_in", in)
		case "bytes_out":
			e.attrs[i] = slog.Int64("bytes_out", out)
		}
	}
	e.attrs = append(e.attrs, stages)
	if err != nil {
		e.attrs = append(e.attrs, slog.String("error_kind", job.KindOf(err).String()), slog.Any("error", err))
	}
}

func (k *Carrier) log(e *entry) {
	if e.attrs != nil {
		k.access.LogAttrs(context.Background(), slog.LevelInfo, "request", e.attrs...) //nolint:forbidigo // the request's context has ended with its answer
	}
}
