package web

import (
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/netip"
	"time"

	"github.com/voicemill/voicemill/gateway/internal/accesslog"
	"github.com/voicemill/voicemill/gateway/internal/auth"
	"github.com/voicemill/voicemill/gateway/internal/clientip"
	"github.com/voicemill/voicemill/gateway/internal/edge"
	"github.com/voicemill/voicemill/gateway/internal/http1"
	"github.com/voicemill/voicemill/gateway/internal/offload"
	"github.com/voicemill/voicemill/gateway/internal/operation"
	"github.com/voicemill/voicemill/gateway/internal/problem"
	"github.com/voicemill/voicemill/gateway/internal/session"
	"github.com/voicemill/voicemill/gateway/internal/strictjson"
	"github.com/voicemill/voicemill/gateway/internal/trace"
	"github.com/voicemill/voicemill/job"
)

// Config bounds requests, and says what is added to answers. Start from
// [DefaultConfig].
type Config struct {
	Limits     job.Limits
	MaxWait    time.Duration  // longest hold of a GET or a submit
	BodyBytes  int            // of a body after it was unpacked, and of one line of a batch
	BatchLines int            // jobs of one batch
	Policy     string         // value of the RateLimit-Policy field
	Origins    []string       // whose pages may call, for CORS; "*" is every one
	Proxies    []netip.Prefix // that tell the client's address in Forwarded or X-Forwarded-For
}

// DefaultConfig returns the published limits.
func DefaultConfig() Config {
	return Config{Limits: job.DefaultLimits(), MaxWait: time.Minute, BodyBytes: 1 << 20, BatchLines: 10_000}
}

// Deps are what a server joins. All are needed.
type Deps struct {
	Operations *operation.Operations
	Pool       *offload.Pool // runs calls
	Sessions   *session.Server
	Access     *accesslog.Log
	Metrics    *accesslog.Metrics
	Log        *slog.Logger
	Random     io.Reader
}

// Server serves HTTP/1.1 as an [edge.Handler], and WebSocket where a request asks for
// it. It is safe for concurrent use.
type Server struct {
	cfg     Config
	dep     Deps
	ops     *operation.Operations
	table   []route
	status  *route // of a job
	ids     *accesslog.RequestIDs
	traces  *trace.Source
	metrics *accesslog.ProtocolMetrics
	proxies clientip.Resolver

	specs    *strictjson.Schema[job.Spec]
	speeches *strictjson.Schema[operation.SpeechRequest]
	uploads  *strictjson.Schema[operation.UploadRequest]
	keys     *strictjson.Schema[operation.KeyRequest]
	buckets  *strictjson.Schema[operation.BucketRequest]
}

// New returns a server.
func New(cfg Config, dep Deps) (*Server, error) {
	if cfg.MaxWait <= 0 || cfg.BodyBytes < 1 || cfg.BatchLines < 1 {
		return nil, fmt.Errorf("web: max wait (%s), bytes of a body (%d) and lines of a batch (%d) must be positive", cfg.MaxWait, cfg.BodyBytes, cfg.BatchLines)
	}
	s := &Server{
		cfg: cfg, dep: dep, ops: dep.Operations, table: routes(), metrics: dep.Metrics.Of(accesslog.HTTP), proxies: clientip.New(cfg.Proxies),
		specs: strictjson.For[job.Spec](), speeches: strictjson.For[operation.SpeechRequest](),
		uploads: strictjson.For[operation.UploadRequest](), keys: strictjson.For[operation.KeyRequest](), buckets: strictjson.For[operation.BucketRequest](),
	}
	s.status, _ = find(s.table, http.MethodGet, []byte(jobPath+"x"), new([2]string))
	var err error
	if s.ids, err = accesslog.NewRequestIDs(dep.Random); err != nil {
		return nil, fmt.Errorf("web: %w", err)
	}
	if s.traces, err = trace.NewSource(dep.Random); err != nil {
		return nil, fmt.Errorf("web: %w", err)
	}
	return s, nil
}

// ServeEdge implements [edge.Handler].
func (s *Server) ServeEdge(ex *edge.Exchange) {
	c := s.begin(ex)
	if s.serveKept(c) {
		return
	}
	c.caller.RequestID = string(c.id)
	if c.traced {
		c.caller.Tracestate = trace.State(c.list("tracestate"))
	}
	s.metrics.Begin()
	ex.Detach()
	if err := s.dep.Pool.Go(c.serve); err != nil {
		c.finish(nil, err)
	}
}

// begin reads what goes with every request.
func (s *Server) begin(ex *edge.Exchange) *Call {
	c, _ := ex.Scratch.(*Call)
	if c == nil {
		c = &Call{s: s}
		ex.Scratch = c
	}
	c.reset(ex)
	c.trace()
	if ex.Secure() {
		c.certificate = auth.HashCertificate(ex.ClientCertificates())
		c.foreign = c.fromElsewhere()
	}
	c.id = append(c.id[:0], c.Header("x-request-id")...)
	if !accesslog.GoodRequestID(c.id) {
		c.id = s.ids.Append(c.id[:0])
	}
	return c
}

// memo returns the memo of the event loop.
func memo(ex *edge.Exchange) *auth.Memo {
	local := ex.Local()
	m, _ := (*local).(*auth.Memo)
	if m == nil {
		m = &auth.Memo{}
		*local = m
	}
	return m
}

// Refusal makes the answer to a request that could not be read, or had no answer
// in time, for [edge.Config].
func (s *Server) Refusal(refused edge.Refused) http1.Response {
	id := s.ids.Next()
	p := problem.OfStatus(refused.Status, refused.Public)
	body := encode(p.Document(id))
	if refused.Request == nil { // others have a line when their handler is done
		if left, wanted := s.dep.Access.Wants(p.StatusCode(), 0, time.Now()); wanted {
			peer := accesslog.Peer{Protocol: accesslog.HTTP, Remote: refused.Remote, Client: refused.Remote.Addr().Unmap()}
			s.dep.Access.WriteRefused(&peer, p, id, len(body), left)
		}
	}
	r := http1.Response{Status: p.StatusCode(), Body: body, Header: []http1.Field{{Name: "Content-Type", Value: contentProblem}, {Name: "X-Request-Id", Value: id}}}
	if wait := p.RetryAfter(); wait > 0 {
		r.Header = append(r.Header, http1.Field{Name: "Retry-After", Value: seconds(wait)})
	}
	return r
}

// ReadsEarly implements [edge.EarlyReader].
func (s *Server) ReadsEarly(r *http1.Request) bool {
	for i := range s.table {
		if t := &s.table[i]; t.early && t.method == r.Method() && t.match(r.RawPath()) {
			return true
		}
	}
	return false
}

var (
	_ edge.Handler     = (*Server)(nil)
	_ edge.EarlyReader = (*Server)(nil)
)
