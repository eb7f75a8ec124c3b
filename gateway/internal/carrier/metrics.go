package carrier

import (
	"strings"
	"time"

	"github.com/voicemill/voicemill/gateway/internal/api"
	"github.com/voicemill/voicemill/platform/telemetry"
)

// Metrics counts and times requests by route. Every label value comes from the
// table of routes, so nothing a client sends can add one. It is safe for
// concurrent use.
type Metrics struct {
	inFlight telemetry.Gauge
	routes   map[routeKey]*routeMetrics // read-only once made
	other    *routeMetrics
	sheds    map[string]telemetry.Counter // by reason, read-only once made
}

type routeKey struct{ method, route string }

type routeMetrics struct {
	took    telemetry.Histogram
	classes [6]telemetry.Counter // by first digit of the status
}

// NewMetrics registers the metrics.
func NewMetrics(reg *telemetry.Registry) *Metrics {
	took := reg.HistogramVec("voicemill_gateway_request_duration_seconds", "Time from a whole request to its answer.", telemetry.LatencyBuckets(), "route")
	count := reg.CounterVec("voicemill_gateway_requests_total", "Requests answered.", "route", "status")
	one := func(label string) *routeMetrics {
		m := &routeMetrics{took: took.With(label)}
		for i, class := range [...]string{"0xx", "1xx", "2xx", "3xx", "4xx", "5xx"} {
			m.classes[i] = count.With(label, class)
		}
		return m
	}
	m := &Metrics{
		inFlight: reg.Gauge("voicemill_gateway_requests_in_flight", "Requests that are not answered yet."),
		routes:   map[routeKey]*routeMetrics{}, other: one("none"), sheds: map[string]telemetry.Counter{},
	}
	sheds := reg.CounterVec("voicemill_gateway_sheds_total", "Requests turned away for load.", "reason")
	for _, reason := range api.ShedReasons() {
		m.sheds[reason] = sheds.With(reason)
	}
	for _, r := range api.Routes() {
		method, pattern, _ := strings.Cut(r, " ")
		m.routes[routeKey{method, pattern}] = one(r)
	}
	return m
}

// Shed counts a request that was turned away, for [api.Deps].
func (m *Metrics) Shed(reason string) {
	if c, ok := m.sheds[reason]; ok {
		c.Inc()
	}
}

func (m *Metrics) begin() { m.inFlight.Add(1) }

func (m *Metrics) end(route, method string, status int, took time.Duration) {
	m.inFlight.Add(-1)
	r := m.routes[routeKey{method, route}]
	if r == nil {
		r = m.other
	}
	r.took.Observe(took.Seconds())
	if class := status / 100; class < len(r.classes) {
		r.classes[class].Inc()
	}
}
