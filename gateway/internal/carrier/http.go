package carrier

import (
	"crypto/x509"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/voicemill/voicemill/gateway/internal/api"
	"github.com/voicemill/voicemill/gateway/internal/auth"
	"github.com/voicemill/voicemill/gateway/internal/clientip"
	"github.com/voicemill/voicemill/gateway/internal/edge"
	"github.com/voicemill/voicemill/gateway/internal/http1"
	"github.com/voicemill/voicemill/gateway/internal/limit"
	"github.com/voicemill/voicemill/gateway/internal/trace"
	"github.com/voicemill/voicemill/gateway/internal/ws"
)

// Config says how connections that carry many calls are looked after, and what
// is added to the API's answers. Start from [DefaultConfig].
type Config struct {
	Policy  string         // value of the RateLimit-Policy field
	Origins []string       // whose pages may call, for CORS; "*" is every one
	Proxies []netip.Prefix // that tell the client's address in Forwarded or X-Forwarded-For

	Ping    time.Duration // a silent peer is asked after this, and cut after twice of it
	Deflate bool          // WebSocket messages may be compressed

	// The access log has every request that took LogSlow and did not fail. Of those
	// that failed it has LogFailures a second with a status of 4xx and as many with
	// one of 5xx, and of the rest LogRate a second; 0 is all of them.
	LogRate     int
	LogFailures int
	LogSlow     time.Duration
}

// DefaultConfig asks after 30 s, compresses nothing, and logs 1000 plain requests
// a second, as many failures of either class and those that took a second.
func DefaultConfig() Config {
	return Config{Ping: 30 * time.Second, LogRate: 1000, LogFailures: 1000, LogSlow: time.Second}
}

// Carrier serves the API over HTTP/1.1 as an [edge.Handler], over WebSocket
// where a request asks for it, and over binary frames by [Carrier.Frames]. It is
// safe for concurrent use.
type Carrier struct {
	cfg     Config
	api     *api.API
	ids     *requestIDs
	traces  *trace.Source
	metrics *Metrics
	http    *protocolMetrics
	access  *slog.Logger
	sample  *sampler
	proxies clientip.Resolver

	inflater *ws.Inflater // nil unless messages may be compressed; one serves every connection
	deflater *ws.Deflater // likewise
}

// New returns the carrier. access gets a line for every request.
func New(cfg Config, a *api.API, m *Metrics, access *slog.Logger, random io.Reader) (*Carrier, error) {
	if cfg.Ping < time.Millisecond {
		return nil, fmt.Errorf("carrier: ping is %s; want at least 1ms", cfg.Ping)
	}
	ids, err := newRequestIDs(random)
	if err != nil {
		return nil, fmt.Errorf("carrier: %w", err)
	}
	traces, err := trace.NewSource(random)
	if err != nil {
		return nil, fmt.Errorf("carrier: %w", err)
	}
	k := &Carrier{cfg: cfg, api: a, ids: ids, traces: traces, metrics: m, http: m.of(protocolHTTP), access: access, sample: newSampler(&cfg), proxies: clientip.New(cfg.Proxies)}
	if cfg.Deflate {
		const fastest = 1 // messages are small, and many
		k.inflater = ws.NewInflater()
		if k.deflater, err = ws.NewDeflater(fastest); err != nil {
			return nil, fmt.Errorf("carrier: %w", err)
		}
	}
	return k, nil
}

// ServeEdge implements [edge.Handler].
func (k *Carrier) ServeEdge(ex *edge.Exchange) {
	x, _ := ex.Scratch.(*exchange)
	if x == nil {
		x = &exchange{Exchange: ex, k: k}
		ex.Scratch = x
	} else {
		x.call.Reset()
		x.answered.Store(false)
		x.begun = false
	}
	req := ex.Request()
	x.Request = req
	x.call.Exchange = x
	x.call.Started = ex.Started()
	traced := x.trace()
	if ex.Secure() {
		x.call.Certificate = certificate(ex.ClientCertificates())
		x.call.Foreign = x.foreign()
	}
	x.id = append(x.id[:0], req.Header("x-request-id")...)
	if !goodRequestID(x.id) {
		x.id = k.ids.append(x.id[:0])
	}
	x.call.Memo = memo(ex)
	if k.api.ServeKept(&x.call) {
		return
	}
	x.call.Memo = nil // it stays on this loop
	x.call.RequestID = string(x.id)
	if traced {
		x.call.Tracestate = trace.State(x.list("tracestate"))
	}
	x.begun = true
	k.metrics.begin()
	k.api.Serve(&x.call)
}

// trace notes the trace of a request that has one, and reports whether it is the
// client's. What cannot be read, or came twice, is replaced by a trace of ours.
func (x *exchange) trace() bool {
	field := x.Header("traceparent")
	if field == nil {
		return false
	}
	times := 0
	for name := range x.Headers() {
		if equalFold(name, "traceparent") {
			times++
		}
	}
	return x.k.trace(&x.call, field, times)
}

// trace notes what field says, which came so many times.
func (k *Carrier) trace(c *api.Call, field []byte, times int) bool {
	var ok bool
	if c.Traceparent, ok = trace.Parent(field); !ok || times > 1 {
		c.Traceparent = k.traces.Begin()
		return false
	}
	return true
}

// certificate returns the hash of the public key of a client's own certificate,
// zero without one.
func certificate(chain []*x509.Certificate) auth.Hash {
	if len(chain) == 0 {
		return auth.Hash{}
	}
	return auth.HashPublicKey(chain[0].RawSubjectPublicKeyInfo)
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

// exchange is one request over HTTP, as the API sees it. Its memory serves one
// request after the other, as that of [edge.Exchange] does.
type exchange struct {
	*edge.Exchange
	*http1.Request
	k        *Carrier
	call     api.Call
	answered atomic.Bool
	begun    bool   // counted as in flight
	id       []byte // of the request
	lines    []byte
	fields   [20]http1.Field
}

// Detach implements [api.Exchange]; it is the exchange's, which detaches the request, too.
func (x *exchange) Detach() { x.Exchange.Detach() }

// OnClose implements [api.Exchange]. Nobody answers a call that waits when its
// client leaves, so it ends here.
func (x *exchange) OnClose(f func()) {
	x.Exchange.OnClose(func() {
		f()
		x.left()
	})
}

// Reply implements [api.Exchange].
func (x *exchange) Reply(a *api.Answer) {
	if !x.answered.CompareAndSwap(false, true) {
		return // a handler that panicked after it answered
	}
	// The request's memory may be reused once the answer is out.
	body := a.Bytes()
	line := x.plainEntry(a, len(body))
	if x.begun {
		x.k.metrics.done()
	}
	if a.Kept {
		x.k.http.status.count(a.Status, line.took)
	} else {
		x.k.http.count(line.route, line.method, a.Status, line.took)
	}
	if a.Kept && len(x.k.cfg.Origins) == 0 {
		x.Respond(http1.Response{Status: a.Status, Lines: x.keptLines(a), Body: body})
	} else {
		x.Respond(http1.Response{Status: a.Status, Header: x.header(a), Body: body})
	}
	x.k.log(&line)
}

// keptLines is what header returns for a document from memory, already encoded:
// nothing in it comes from anybody else.
func (x *exchange) keptLines(a *api.Answer) []byte {
	b := x.lines[:0]
	if a.ContentType != "" {
		b = append(append(append(b, "Content-Type: "...), a.ContentType...), "\r\n"...)
	}
	b = append(append(b, "Cache-Control: private, no-cache\r\nETag: "...), a.ETag...)
	b = append(append(b, "\r\nX-Request-Id: "...), x.id...)
	if tp := x.call.Traceparent; tp != "" {
		b = append(append(b, "\r\nTraceparent: "...), tp...)
	}
	if q := &x.call.Quota; q.Quota != limit.None {
		b = q.AppendField(append(b, "\r\nRateLimit: "...))
		b = append(append(b, "\r\nRateLimit-Policy: "...), x.k.cfg.Policy...)
	}
	x.lines = append(b, "\r\n"...)
	return x.lines
}

func (x *exchange) header(a *api.Answer) []http1.Field {
	f := x.fields[:0]
	add := func(name, value string) {
		if value != "" {
			f = append(f, http1.Field{Name: name, Value: value})
		}
	}
	add("Content-Type", a.ContentType)
	add("X-Request-Id", string(x.id))
	add("Traceparent", x.call.Traceparent)
	add("ETag", a.ETag)
	add("Location", a.Location)
	add("Allow", a.Allow)
	if a.AcceptRanges {
		add("Accept-Ranges", "bytes")
	}
	add("Content-Range", a.ContentRange)
	add("Content-Disposition", a.Disposition)
	if a.Preference != "" {
		add("Preference-Applied", a.Preference)
	}
	if a.RetryAfter > 0 {
		add("Retry-After", itoa(int64(seconds(a.RetryAfter))))
	}
	if a.Status == 401 {
		add("WWW-Authenticate", `Bearer realm="voicemill"`)
	}
	if q := &x.call.Quota; q.Quota != limit.None {
		var value [64]byte
		add("RateLimit", string(q.AppendField(value[:0])))
		add("RateLimit-Policy", x.k.cfg.Policy)
	}
	x.cors(add, a.Status, a.Allow)
	if a.Status == 426 {
		add("Upgrade", "websocket")
		add("Sec-WebSocket-Version", "13")
	}
	if x.call.Identity.Tenant != "" {
		add("Cache-Control", "private, no-cache")
	}
	return f
}

// seconds spells a wait so that nobody comes back too early; 0 is none.
func seconds(d time.Duration) uint32 {
	return uint32((max(0, d) + time.Second - 1) / time.Second) //nolint:gosec // waits are of hours at most
}

// Refusal makes the answer to a request that could not be read, for
// [edge.Config].
func (k *Carrier) Refusal(status int, public string) http1.Response {
	id := k.ids.next()
	a := api.Refusal(status, public, id)
	r := http1.Response{Status: status, Body: a.Bytes(), Header: []http1.Field{{Name: "Content-Type", Value: a.ContentType}, {Name: "X-Request-Id", Value: id}}}
	if a.RetryAfter > 0 {
		r.Header = append(r.Header, http1.Field{Name: "Retry-After", Value: itoa(int64(seconds(a.RetryAfter)))})
	}
	return r
}
