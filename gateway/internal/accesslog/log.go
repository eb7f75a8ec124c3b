package accesslog

import (
	"context"
	"log/slog"
	"net/netip"
	"time"

	"github.com/voicemill/voicemill/gateway/internal/operation"
	"github.com/voicemill/voicemill/gateway/internal/problem"
	"github.com/voicemill/voicemill/gateway/internal/trace"
	"github.com/voicemill/voicemill/job"
)

// Config says which calls have a line: every one that took Slow and did not fail. Of
// those that failed Failures a second with a status of 4xx and as many with one of
// 5xx, and of the rest Rate a second; 0 is all of them.
type Config struct {
	Rate     int
	Failures int
	Slow     time.Duration
}

// DefaultConfig logs 1000 plain calls a second, as many failures of either class and
// those that took a second.
func DefaultConfig() Config { return Config{Rate: 1000, Failures: 1000, Slow: time.Second} }

// Log is the access log. It is safe for concurrent use.
type Log struct {
	log    *slog.Logger
	sample *sampler
}

// New returns a log that writes to log.
func New(cfg Config, log *slog.Logger) *Log { return &Log{log: log, sample: newSampler(&cfg)} }

// Wants reports whether the log wants the line of a call, and how many it did
// without since the last one.
func (l *Log) Wants(status int, took time.Duration, now time.Time) (left uint64, wanted bool) {
	if !l.log.Enabled(context.Background(), slog.LevelInfo) { //nolint:forbidigo // asks for the level only
		return 0, false
	}
	return l.sample.pass(status, took, now)
}

// Peer is who a line is about.
type Peer struct {
	Protocol string
	Remote   netip.AddrPort
	Client   netip.Addr // the peer, or who it speaks for if it is a proxy that is trusted
	Agent    string
}

// Record is what is known of a call that is over.
type Record struct {
	Peer                *Peer
	Caller              *operation.Caller
	Method, Route, Path string
	Status              int
	Took                time.Duration
	BytesIn, BytesOut   int64
	Events              int64     // that a watch was sent; negative where none could be
	Stages              slog.Attr // empty for a call whose stages somebody may be turning
	Problem             *problem.Error
	Err                 error // what broke off an answer that had begun
}

// Write writes the line of a call; left is what Wants said.
func (l *Log) Write(r *Record, left uint64) {
	attrs := append(make([]slog.Attr, 0, 24),
		slog.String("method", r.Method), slog.String("route", r.Route), slog.String("path", r.Path),
		slog.Int("status", r.Status), slog.Duration("duration", r.Took),
		slog.Int64("bytes_in", r.BytesIn), slog.Int64("bytes_out", r.BytesOut))
	if r.Events >= 0 {
		attrs = append(attrs, slog.Int64("events", r.Events))
	}
	attrs = appendCaller(attrs, r.Caller)
	attrs = appendPeer(attrs, r.Peer, r.Caller.Traceparent)
	attrs = appendProblem(attrs, r.Problem)
	attrs = appendError(attrs, r.Err)
	l.write("request", append(attrs, r.Stages), left)
}

// WriteRefused writes the line of a request that never became a call: nothing in it
// was understood.
func (l *Log) WriteRefused(peer *Peer, p *problem.Error, requestID string, bytesOut int, left uint64) {
	attrs := append(make([]slog.Attr, 0, 12),
		slog.String("route", NoRoute), slog.Int("status", p.StatusCode()), slog.Int("bytes_out", bytesOut),
		slog.String("request_id", requestID), slog.String("reason", p.Detail))
	l.write("request", appendProblem(appendPeer(attrs, peer, ""), p), left)
}

// Ended is what is known of a connection with many calls that is over.
type Ended struct {
	Peer   *Peer
	Caller *operation.Caller // who opened it, with what
	Took   time.Duration
	Calls  uint64
	Code   int // what it was ended with
	Err    error
}

// WriteEnded writes the line of a connection.
func (l *Log) WriteEnded(e *Ended, left uint64) {
	attrs := append(make([]slog.Attr, 0, 14),
		slog.Duration("duration", e.Took), slog.Uint64("calls", e.Calls), slog.Int("close_code", e.Code))
	attrs = appendPeer(appendCaller(attrs, e.Caller), e.Peer, e.Caller.Traceparent)
	if e.Err != nil {
		attrs = append(attrs, slog.Any("error", e.Err))
	}
	l.write("connection closed", attrs, left)
}

func appendCaller(attrs []slog.Attr, c *operation.Caller) []slog.Attr {
	return append(attrs, slog.String("tenant", string(c.Tenant)), slog.String("key_id", c.KeyID), slog.String("request_id", c.RequestID))
}

// appendPeer says who it was, and in which trace.
func appendPeer(attrs []slog.Attr, p *Peer, traceparent string) []slog.Attr {
	attrs = append(attrs, slog.String("remote", p.Remote.String()), slog.String("client_ip", p.Client.String()), slog.String("protocol", p.Protocol))
	if p.Agent != "" {
		attrs = append(attrs, slog.String("user_agent", p.Agent))
	}
	if traceparent != "" {
		attrs = append(attrs, slog.String("trace_id", trace.ID(traceparent)))
	}
	return attrs
}

// appendProblem says what went wrong: what the client was told, and why.
func appendProblem(attrs []slog.Attr, p *problem.Error) []slog.Attr {
	if p == nil {
		return attrs
	}
	return appendError(append(attrs, slog.String("problem", string(p.Slug))), p.Err)
}

func appendError(attrs []slog.Attr, err error) []slog.Attr {
	if err == nil {
		return attrs
	}
	return append(attrs, slog.String("error_kind", job.KindOf(err).String()), slog.Any("error", err))
}

func (l *Log) write(message string, attrs []slog.Attr, left uint64) {
	if left > 0 {
		attrs = append(attrs, slog.Uint64("left_out", left))
	}
	l.log.LogAttrs(context.Background(), slog.LevelInfo, message, attrs...) //nolint:forbidigo // what it tells of has no context any more
}
