package carrier

import (
	"net/http"
	"strings"
	"time"

	"github.com/voicemill/voicemill/gateway/internal/api"
	"github.com/voicemill/voicemill/platform/telemetry"
)

const (
	protocolHTTP = "http1"
	noRoute      = "none" // of a request that has no route of the contract
)

// Metrics counts and times requests by protocol and route. Every label value
// comes from a table, so nothing a client sends can add one. It is safe for
// concurrent use.
type Metrics struct {
	inFlight  telemetry.Gauge
	held      telemetry.Counter // events that had to wait for their peer
	protocols map[string]*protocolMetrics
	sheds     map[string]telemetry.Counter // by reason, read-only once made
}

type protocolMetrics struct {
	inFlight telemetry.Gauge
	sessions telemetry.Gauge
	events   telemetry.Counter
	routes   map[routeKey]*routeMetrics // read-only once made
	status   *routeMetrics              // of a job, which most requests ask for
	other    *routeMetrics
}

type routeKey struct{ method, route string }

type routeMetrics struct {
	took    telemetry.Histogram
	classes [6]telemetry.Counter // by first digit of the status
}

// NewMetrics registers the metrics.
func NewMetrics(reg *telemetry.Registry) *Metrics {
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
		held:      reg.Counter("voicemill_gateway_events_held_total", "Times that a watcher did not take an event and was sent a newer one later."),
		protocols: map[string]*protocolMetrics{},
		sheds:     map[string]telemetry.Counter{},
	}
	sheds := reg.CounterVec("voicemill_gateway_sheds_total", "Requests turned away for load.", "reason")
	for _, reason := range api.ShedReasons() {
		m.sheds[reason] = sheds.With(reason)
	}
	for protocol, calls := range map[string][]string{protocolHTTP: api.Routes(), protocolWebSocket: sessionRoutes(), protocolFrames: sessionRoutes()} {
		p := &protocolMetrics{
			inFlight: m.inFlight, sessions: sessions.With(protocol), events: events.With(protocol),
			routes: map[routeKey]*routeMetrics{}, other: one(protocol, noRoute),
		}
		for _, r := range calls {
			method, pattern, _ := strings.Cut(r, " ")
			p.routes[routeKey{method, pattern}] = one(protocol, r)
		}
		p.status = p.routes[routeKey{http.MethodGet, api.StatusRoute}]
		m.protocols[protocol] = p
	}
	return m
}

// Shed counts a request that was turned away, for [api.Deps].
func (m *Metrics) Shed(reason string) {
	if c, ok := m.sheds[reason]; ok {
		c.Inc()
	}
}

// sessionRoutes lists what a session can call.
func sessionRoutes() []string {
	return []string{"POST /v1/jobs", "GET /v1/jobs/{id}", "GET /v1/jobs/{id}/events", "POST /v1/jobs/{id}/cancel", "GET /v1/connect"}
}

func (m *Metrics) begin() { m.inFlight.Add(1) }

func (m *Metrics) done() { m.inFlight.Add(-1) }

func (m *Metrics) of(protocol string) *protocolMetrics { return m.protocols[protocol] }

// end counts a call that began.
func (m *protocolMetrics) end(route, method string, status int, took time.Duration) {
	m.inFlight.Add(-1)
	m.count(route, method, status, took)
}

func (m *protocolMetrics) count(route, method string, status int, took time.Duration) {
	r := m.routes[routeKey{method, route}]
	if r == nil {
		r = m.other
	}
	r.count(status, took)
}

func (r *routeMetrics) count(status int, took time.Duration) {
	r.took.Observe(took.Seconds())
	if class := status / 100; class < len(r.classes) {
		r.classes[class].Inc()
	}
}
