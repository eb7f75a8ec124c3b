package session

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"runtime/debug"
	"time"

	"github.com/voicemill/voicemill/gateway/internal/accesslog"
	"github.com/voicemill/voicemill/gateway/internal/edge"
	"github.com/voicemill/voicemill/gateway/internal/offload"
	"github.com/voicemill/voicemill/gateway/internal/operation"
	"github.com/voicemill/voicemill/gateway/internal/strictjson"
	"github.com/voicemill/voicemill/gateway/internal/trace"
	"github.com/voicemill/voicemill/gateway/internal/ws"
	"github.com/voicemill/voicemill/job"
)

// Config says how connections are looked after. Start from [DefaultConfig].
type Config struct {
	Ping    time.Duration // a silent peer is asked after this, and cut after twice of it
	Deflate bool          // WebSocket messages may be compressed
}

// DefaultConfig asks after 30 s and compresses nothing.
func DefaultConfig() Config { return Config{Ping: 30 * time.Second} }

// Deps are what a server joins. All are needed.
type Deps struct {
	Operations *operation.Operations
	Pool       *offload.Pool // runs calls
	Access     *accesslog.Log
	Metrics    *accesslog.Metrics
	Log        *slog.Logger
	Random     io.Reader
}

// Server serves sessions. It is safe for concurrent use.
type Server struct {
	cfg    Config
	dep    Deps
	ops    *operation.Operations
	ids    *accesslog.RequestIDs
	traces *trace.Source
	specs  *strictjson.Schema[job.Spec]

	inflater *ws.Inflater // nil unless messages may be compressed; one serves every connection
	deflater *ws.Deflater // likewise
}

// New returns a server.
func New(cfg Config, dep Deps) (*Server, error) {
	if cfg.Ping < time.Millisecond {
		return nil, fmt.Errorf("session: ping is %s; want at least 1ms", cfg.Ping)
	}
	s := &Server{cfg: cfg, dep: dep, ops: dep.Operations, specs: strictjson.For[job.Spec]()}
	var err error
	if s.ids, err = accesslog.NewRequestIDs(dep.Random); err != nil {
		return nil, fmt.Errorf("session: %w", err)
	}
	if s.traces, err = trace.NewSource(dep.Random); err != nil {
		return nil, fmt.Errorf("session: %w", err)
	}
	if cfg.Deflate {
		const fastest = 1 // messages are small, and many
		s.inflater = ws.NewInflater()
		if s.deflater, err = ws.NewDeflater(fastest); err != nil {
			return nil, fmt.Errorf("session: %w", err)
		}
	}
	return s, nil
}

// Deflates reports whether WebSocket messages may be compressed.
func (s *Server) Deflates() bool { return s.cfg.Deflate }

func (s *Server) open(c *edge.Conn, peer accesslog.Peer, opener operation.Caller) *session {
	now := time.Now()
	m := s.dep.Metrics.Of(peer.Protocol)
	m.Sessions.Add(1)
	return &session{srv: s, conn: c, metrics: m, peer: peer, opener: opener, started: now, heardAt: now, calls: make(map[uint32]*call)}
}

// panicked puts down that the handling of a message or a call has panicked.
func (s *Server) panicked(p any, requestID string) {
	s.dep.Log.LogAttrs(context.Background(), slog.LevelError, "handler panicked", //nolint:forbidigo // the call's context may have ended
		slog.Any("panic", p), slog.String("request_id", requestID), slog.String("stack", string(debug.Stack())))
}
