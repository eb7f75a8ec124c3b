package carrier

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"time"

	"github.com/voicemill/voicemill/gateway/internal/api"
	"github.com/voicemill/voicemill/gateway/internal/trace"
	"github.com/voicemill/voicemill/gateway/internal/ws"
	"github.com/voicemill/voicemill/job"
)

// message is what the access log says of a call on a session, beside its answer.
type message struct {
	call              *api.Call
	method, path      string
	bytesIn, bytesOut int
	events            uint64
}

// logCall writes the line of a call. stages is nil for one whose stages somebody
// may be turning.
func (s *session) logCall(m message, a *api.Answer, stages func(took time.Duration) slog.Attr) {
	now := time.Now()
	took := now.Sub(m.call.Started)
	left, wanted := s.k.wants(a.Status, took, now)
	if !wanted {
		return
	}
	id := &m.call.Identity
	attrs := append(make([]slog.Attr, 0, 22),
		slog.String("method", m.method), slog.String("route", m.call.Route), slog.String("path", m.path),
		slog.Int("status", a.Status), slog.Duration("duration", took),
		slog.Int("bytes_in", m.bytesIn), slog.Int("bytes_out", m.bytesOut), slog.Uint64("events", m.events),
		slog.String("tenant", string(id.Tenant)), slog.String("key_id", id.KeyID), slog.String("request_id", m.call.RequestID))
	attrs = s.appendPeer(attrs, m.call.Traceparent)
	attrs = appendFailure(attrs, a)
	if stages != nil {
		attrs = append(attrs, stages(took))
	}
	if left > 0 {
		attrs = append(attrs, slog.Uint64("left_out", left))
	}
	s.k.access.LogAttrs(context.Background(), slog.LevelInfo, "request", attrs...) //nolint:forbidigo // the call's context has ended with its answer
}

// appendPeer says whose session it is, and in which trace.
func (s *session) appendPeer(attrs []slog.Attr, traceparent string) []slog.Attr {
	attrs = append(attrs, slog.String("remote", s.conn.RemoteAddr().String()), slog.String("client_ip", s.client.String()), slog.String("protocol", s.protocol))
	if s.agent != "" {
		attrs = append(attrs, slog.String("user_agent", s.agent))
	}
	if traceparent != "" {
		attrs = append(attrs, slog.String("trace_id", trace.ID(traceparent)))
	}
	return attrs
}

// statusOf is what a farewell is to the sampler of the access log.
func statusOf(code int) int {
	switch code {
	case ws.CodeProtocolError, ws.CodeUnsupported, ws.CodeInvalidPayload, ws.CodePolicy, ws.CodeTooBig:
		return http.StatusBadRequest
	case ws.CodeInternal, ws.CodeTryAgainLater:
		return http.StatusServiceUnavailable
	}
	return http.StatusOK
}

// logEnd writes the line of a session that is over.
func (s *session) logEnd(code int, tenant job.Tenant, keyID string, err error) {
	left, wanted := s.k.wants(statusOf(code), 0, time.Now())
	if !wanted {
		return
	}
	attrs := append(make([]slog.Attr, 0, 14),
		slog.Duration("duration", time.Since(s.started)), slog.Uint64("calls", s.calls.Load()), slog.Int("close_code", code),
		slog.String("tenant", string(tenant)), slog.String("key_id", keyID), slog.String("request_id", s.requestID))
	attrs = s.appendPeer(attrs, s.traceparent)
	if err != nil && !errors.Is(err, errPeerLeft) {
		attrs = append(attrs, slog.Any("error", err))
	}
	if left > 0 {
		attrs = append(attrs, slog.Uint64("left_out", left))
	}
	s.k.access.LogAttrs(context.Background(), slog.LevelInfo, "connection closed", attrs...) //nolint:forbidigo // the connection's context has ended with it
}
