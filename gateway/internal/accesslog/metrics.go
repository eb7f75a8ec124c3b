package accesslog

import (
	"net/http"
	"strings"
	"time"

	"github.com/voicemill/voicemill/gateway/internal/operation"
	"github.com/voicemill/voicemill/platform/telemetry"
)

// The protocols.
const (
	HTTP      = "http1"
	WebSocket = "websocket"
	Frames    = "frames"
)

// NoRoute is the route of a request that has none of the contract's.
const NoRoute = "none"

// The routes that are told apart from others in code.
const (
	StatusRoute  = "/v1/jobs/{id}"
	SubmitRoute  = "/v1/jobs"
	EventsRoute  = "/v1/jobs/{id}/events"
	CancelRoute  = "/v1/jobs/{id}/cancel"
	ConnectRoute = "/v1/connect"
)

// Metrics counts and times requests by protocol and route. Every label value
// comes from a table, so nothing a client sends can add one. It is safe for
// concurrent use.
type Metrics struct {
	inFlight  telemetry.Gauge
	Held      telemetry.Counter // events that had to wait for their peer
	protocols map[string]*ProtocolMetrics
	sheds     map[string]telemetry.Counter // by reason, read-only once made
}

// ProtocolMetrics are those of one protocol.
type ProtocolMetrics struct {
	inFlight telemetry.Gauge
	Sessions telemetry.Gauge
	Events   telemetry.Counter
	routes   map[routeKey]*routeMetrics // read-only once made
	status   *routeMetrics              // of a job, which most requests ask for
	other    *routeMetrics
}

type routeKey struct{ method, route string }

type routeMetrics struct {
	took    telemetry.Histogram
	classes [6]telemetry.Counter // by first digit of the status
}

// NewMetrics registers the metrics of the routes of HTTP, each a method and a
// pattern, and of sessions.
func NewMetrics(reg *telemetry.Registry, routes []string) *Metrics {
	took := reg.HistogramVec("voicemill_gateway_request_duration_seconds", "Time from a whole request to its answer, or to the start of one that goes on.",
		telemetry.LatencyBuckets(), "protocol", "route")
	count := reg.CounterVec("voicemill_gateway_requests_total", "Requests answered.", "protocol", "route", "status")
	sessions := reg.GaugeVec("voicemill_gateway_sessions", "Connections that carry many calls.", "protocol")
	events := reg.CounterVec("voicemill_gateway_events_total", "Events sent to watchers.", "protocol")
	one := func(protocol, route string) *routeMetrics {
		m := &routeMetrics{took: took.With(protocol, route)}
		for i, class := range [...]string{"0xx", "1xx", "2xx", "3xx", "4xx", "5xx"} {
			m.classes[i] = count.With(protocol, route, class)
		}
		return m
	}
	m := &Metrics{
		inFlight:  reg.Gauge("voicemill_gateway_requests_in_flight", "Requests that are not answered yet."),
		Held:      reg.Counter("voicemill_gateway_events_held_total", "Times that a watcher did not take an event and was sent a newer one later."),
		protocols: map[string]*ProtocolMetrics{},
		sheds:     map[string]telemetry.Counter{},
	}
	sheds := reg.CounterVec("voicemill_gateway_sheds_total", "Requests turned away for load.", "reason")
	for _, reason := range operation.ShedReasons() {
		m.sheds[reason] = sheds.With(reason)
	}
	for protocol, calls := range map[string][]string{HTTP: routes, WebSocket: sessionRoutes(), Frames: sessionRoutes()} {
		p := &ProtocolMetrics{
			inFlight: m.inFlight, Sessions: sessions.With(protocol), Events: events.With(protocol),
			routes: map[routeKey]*routeMetrics{}, other: one(protocol, NoRoute),
		}
		for _, r := range calls {
			method, pattern, _ := strings.Cut(r, " ")
			p.routes[routeKey{method, pattern}] = one(protocol, r)
		}
		p.status = p.routes[routeKey{http.MethodGet, StatusRoute}]
		m.protocols[protocol] = p
	}
	return m
}

// Shed counts a request that was turned away, for [operation.Deps].
func (m *Metrics) Shed(reason string) {
	if c, ok := m.sheds[reason]; ok {
		c.Inc()
	}
}

// sessionRoutes lists what a session can call.
func sessionRoutes() []string {
	return []string{"POST " + SubmitRoute, "GET " + StatusRoute, "GET " + EventsRoute, "POST " + CancelRoute, "GET " + ConnectRoute}
}

// Of returns the metrics of a protocol.
func (m *Metrics) Of(protocol string) *ProtocolMetrics { return m.protocols[protocol] }

// Begin counts a call that is under way.
func (m *ProtocolMetrics) Begin() { m.inFlight.Add(1) }

// End counts a call that began.
func (m *ProtocolMetrics) End(route, method string, status int, took time.Duration) {
	m.inFlight.Add(-1)
	m.Count(route, method, status, took)
}

// Count counts a call that is over at once.
func (m *ProtocolMetrics) Count(route, method string, status int, took time.Duration) {
	r := m.routes[routeKey{method, route}]
	if r == nil {
		r = m.other
	}
	r.count(status, took)
}

// Status counts a question for a job, which most calls are.
func (m *ProtocolMetrics) Status(status int, took time.Duration) { m.status.count(status, took) }

func (r *routeMetrics) count(status int, took time.Duration) {
	r.took.Observe(took.Seconds())
	if class := status / 100; class < len(r.classes) {
		r.classes[class].Inc()
	}
}
