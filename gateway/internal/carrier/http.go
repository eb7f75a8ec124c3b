package carrier

import (
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/voicemill/voicemill/gateway/internal/api"
	"github.com/voicemill/voicemill/gateway/internal/clientip"
	"github.com/voicemill/voicemill/gateway/internal/edge"
	"github.com/voicemill/voicemill/gateway/internal/http1"
	"github.com/voicemill/voicemill/gateway/internal/limit"
)

// HTTP serves the API over HTTP/1.1. It is safe for concurrent use.
type HTTP struct {
	api     *api.API
	ids     *requestIDs
	metrics *Metrics
	access  *slog.Logger
	cfg     Config
	proxies clientip.Resolver
}

// Config is what the carrier adds to the API's answers. The zero value adds
// nothing and trusts nobody.
type Config struct {
	Policy  string         // value of the RateLimit-Policy field
	Origins []string       // whose pages may call, for CORS; "*" is every one
	Proxies []netip.Prefix // that tell the client's address in Forwarded or X-Forwarded-For
}

// NewHTTP returns the carrier. access gets a line for every request.
func NewHTTP(cfg Config, a *api.API, m *Metrics, access *slog.Logger, random io.Reader) (*HTTP, error) {
	ids, err := newRequestIDs(random)
	if err != nil {
		return nil, fmt.Errorf("carrier: %w", err)
	}
	return &HTTP{api: a, ids: ids, metrics: m, access: access, cfg: cfg, proxies: clientip.New(cfg.Proxies)}, nil
}

// ServeEdge implements [edge.Handler].
func (h *HTTP) ServeEdge(ex *edge.Exchange) {
	x := &exchange{Exchange: ex, h: h}
	req := ex.Request()
	x.Request = req
	x.call.Exchange = x
	x.call.Started = ex.Started()
	id, ok := requestID(req.Header("x-request-id"))
	if !ok {
		id = h.ids.next()
	}
	x.call.RequestID = id
	x.call.Traceparent = traceparent(req.Header("traceparent"))
	h.metrics.begin()
	h.api.Serve(&x.call)
}

// exchange is one request over HTTP, as the API sees it.
type exchange struct {
	*edge.Exchange
	*http1.Request
	h        *HTTP
	call     api.Call
	answered atomic.Bool
	fields   [20]http1.Field
}

// Detach implements [api.Exchange]; it is the exchange's, which detaches the request, too.
func (x *exchange) Detach() { x.Exchange.Detach() }

// Reply implements [api.Exchange].
func (x *exchange) Reply(a *api.Answer) {
	if !x.answered.CompareAndSwap(false, true) {
		return // a handler that panicked after it answered
	}
	// The request's memory may be reused once the answer is out.
	line := x.entry(a)
	x.Respond(http1.Response{Status: a.Status, Header: x.header(a), Body: a.Body})
	x.h.metrics.end(line.route, line.method, a.Status, line.took)
	x.h.log(&line)
}

func (x *exchange) header(a *api.Answer) []http1.Field {
	f := x.fields[:0]
	add := func(name, value string) {
		if value != "" {
			f = append(f, http1.Field{Name: name, Value: value})
		}
	}
	add("Content-Type", a.ContentType)
	add("X-Request-Id", x.call.RequestID)
	add("Traceparent", x.call.Traceparent)
	add("ETag", a.ETag)
	add("Location", a.Location)
	add("Allow", a.Allow)
	if a.Preference != "" {
		add("Preference-Applied", a.Preference)
	}
	if a.RetryAfter > 0 {
		add("Retry-After", seconds(a.RetryAfter))
	}
	if a.Status == 401 {
		add("WWW-Authenticate", `Bearer realm="voicemill"`)
	}
	if q := &x.call.Quota; q.Quota != limit.None {
		var value [64]byte
		add("RateLimit", string(q.AppendField(value[:0])))
		add("RateLimit-Policy", x.h.cfg.Policy)
	}
	x.cors(add, a.Status, a.Allow)
	if x.call.Identity.Tenant != "" {
		add("Cache-Control", "private, no-cache")
	}
	return f
}

func seconds(d time.Duration) string {
	return strconv.Itoa(max(1, int((d+time.Second-1)/time.Second)))
}

// Refusal makes the answer to a request that could not be read, for
// [edge.Config].
func (h *HTTP) Refusal(status int, public string) http1.Response {
	id := h.ids.next()
	a := api.Refusal(status, public, id)
	r := http1.Response{Status: status, Body: a.Body, Header: []http1.Field{{Name: "Content-Type", Value: a.ContentType}, {Name: "X-Request-Id", Value: id}}}
	if a.RetryAfter > 0 {
		r.Header = append(r.Header, http1.Field{Name: "Retry-After", Value: seconds(a.RetryAfter)})
	}
	return r
}
