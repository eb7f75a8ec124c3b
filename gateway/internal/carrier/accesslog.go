package carrier

import (
	"bytes"
	"context"
	"log/slog"
	"net/netip"
	"time"

	"github.com/voicemill/voicemill/gateway/internal/api"
	"github.com/voicemill/voicemill/job"
)

// entry is what the access log says of one request. It holds no memory of the request.
type entry struct {
	method, route string
	took          time.Duration
	attrs         []slog.Attr // nil if nobody reads the log
}

// entry describes the request before its memory is given back.
func (x *exchange) entry(a *api.Answer) entry {
	e := entry{method: x.Method(), route: x.call.Route, took: time.Since(x.call.Started)}
	if !x.h.access.Enabled(context.Background(), slog.LevelInfo) { //nolint:forbidigo // asks for the level only
		return e
	}
	id := &x.call.Identity
	e.attrs = append(make([]slog.Attr, 0, 18),
		slog.String("method", e.method), slog.String("route", e.route), slog.String("path", string(x.RawPath())),
		slog.Int("status", a.Status), slog.Duration("duration", e.took),
		slog.Int("bytes_in", len(x.Body())), slog.Int("bytes_out", len(a.Body)),
		slog.String("tenant", string(id.Tenant)), slog.String("key_id", id.KeyID), slog.String("request_id", x.call.RequestID),
		slog.String("remote", x.RemoteAddr().String()), slog.String("client_ip", x.clientIP().String()), slog.String("protocol", "http1"))
	if ua := x.Header("user-agent"); ua != nil {
		e.attrs = append(e.attrs, slog.String("user_agent", string(ua)))
	}
	if tp := x.call.Traceparent; tp != "" {
		e.attrs = append(e.attrs, slog.String("trace_id", tp[3:35]))
	}
	if a.Err != nil {
		e.attrs = append(e.attrs, slog.String("error_kind", job.KindOf(a.Err).String()), slog.Any("error", a.Err))
	}
	return e
}

// clientIP is the peer, or who it speaks for if it is a proxy that is trusted.
func (x *exchange) clientIP() netip.Addr {
	peer := x.RemoteAddr().Addr()
	if !x.h.proxies.Trusts(peer) {
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
	return x.h.proxies.Resolve(peer, forwarded, xff)
}

func (h *HTTP) log(e *entry) {
	if e.attrs != nil {
		h.access.LogAttrs(context.Background(), slog.LevelInfo, "request", e.attrs...) //nolint:forbidigo // the request's context has ended with its answer
	}
}
