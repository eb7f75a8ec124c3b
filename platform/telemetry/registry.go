package telemetry

import (
	"fmt"
	"io"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/common/expfmt"
)

// Registry holds the metrics of one process. It is safe for concurrent use.
// Registering one name twice panics: it is a bug.
type Registry struct{ reg *prometheus.Registry }

// NewRegistry returns a Registry that already has the Go runtime's and the
// process's own metrics.
func NewRegistry() *Registry {
	reg := prometheus.NewRegistry()
	reg.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return &Registry{reg: reg}
}

// Write writes every metric in the Prometheus text format.
func (r *Registry) Write(w io.Writer) error {
	families, err := r.reg.Gather()
	if err != nil {
		return fmt.Errorf("gather the metrics: %w", err)
	}
	enc := expfmt.NewEncoder(w, expfmt.NewFormat(expfmt.TypeTextPlain))
	for _, f := range families {
		if err := enc.Encode(f); err != nil {
			return fmt.Errorf("write the metrics: %w", err)
		}
	}
	return nil
}

// Counter is a number that only grows.
type Counter struct{ c prometheus.Counter }

// Inc adds one.
func (c Counter) Inc() { c.c.Inc() }

// Add adds v, which must not be negative.
func (c Counter) Add(v float64) { c.c.Add(v) }

// CounterVec is a family of counters told apart by labels.
type CounterVec struct{ v *prometheus.CounterVec }

// With returns the counter with these label values, in the order of the names.
// Keep it where it is used often: looking it up costs more than counting.
func (v CounterVec) With(values ...string) Counter { return Counter{v.v.WithLabelValues(values...)} }

// Counter registers a counter.
func (r *Registry) Counter(name, help string) Counter { return r.CounterVec(name, help).With() }

// CounterVec registers a family of counters with the label names given.
func (r *Registry) CounterVec(name, help string, labels ...string) CounterVec {
	v := prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
	r.reg.MustRegister(v)
	return CounterVec{v}
}

// Gauge is a number that goes up and down.
type Gauge struct{ g prometheus.Gauge }

// Set sets the value.
func (g Gauge) Set(v float64) { g.g.Set(v) }

// Add adds v, which may be negative.
func (g Gauge) Add(v float64) { g.g.Add(v) }

// GaugeVec is a family of gauges told apart by labels.
type GaugeVec struct{ v *prometheus.GaugeVec }

// With returns the gauge with these label values, in the order of the names.
func (v GaugeVec) With(values ...string) Gauge { return Gauge{v.v.WithLabelValues(values...)} }

// Gauge registers a gauge.
func (r *Registry) Gauge(name, help string) Gauge { return r.GaugeVec(name, help).With() }

// GaugeVec registers a family of gauges with the label names given.
func (r *Registry) GaugeVec(name, help string, labels ...string) GaugeVec {
	v := prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: name, Help: help}, labels)
	r.reg.MustRegister(v)
	return GaugeVec{v}
}

// GaugeFunc registers a gauge that is read when the metrics are. read must be
// quick and safe for concurrent use.
func (r *Registry) GaugeFunc(name, help string, read func() float64) {
	r.reg.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, read))
}

// CounterFunc registers a counter that is read when the metrics are. read must be
// quick, safe for concurrent use, and never return less than before.
func (r *Registry) CounterFunc(name, help string, read func() float64) {
	r.reg.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{Name: name, Help: help}, read))
}

// CounterFuncs is CounterFunc for a family, told apart by the values of one label.
func (r *Registry) CounterFuncs(name, help, label string, reads map[string]func() float64) {
	for value, read := range reads {
		opts := prometheus.CounterOpts{Name: name, Help: help, ConstLabels: prometheus.Labels{label: value}}
		r.reg.MustRegister(prometheus.NewCounterFunc(opts, read))
	}
}

// Histogram counts observations in buckets.
type Histogram struct{ o prometheus.Observer }

// Observe adds one observation.
func (h Histogram) Observe(v float64) { h.o.Observe(v) }

// HistogramVec is a family of histograms told apart by labels.
type HistogramVec struct{ v *prometheus.HistogramVec }

// With returns the histogram with these label values, in the order of the names.
func (v HistogramVec) With(values ...string) Histogram {
	return Histogram{v.v.WithLabelValues(values...)}
}

// Histogram registers a histogram with the upper bounds given, in ascending order.
func (r *Registry) Histogram(name, help string, buckets []float64) Histogram {
	return r.HistogramVec(name, help, buckets).With()
}

// HistogramVec registers a family of histograms with the label names given.
func (r *Registry) HistogramVec(name, help string, buckets []float64, labels ...string) HistogramVec {
	v := prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: name, Help: help, Buckets: buckets}, labels)
	r.reg.MustRegister(v)
	return HistogramVec{v}
}

// LatencyBuckets are upper bounds in seconds, 100 µs to 60 s, for whatever a
// client or a query waits for.
func LatencyBuckets() []float64 {
	return []float64{.0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60}
}
