// Package telemetry is how a process tells of itself: structured logs, metrics
// and the admin port with /healthz, /readyz, /metrics and /debug/pprof. It alone
// imports the Prometheus client; the other packages see counters, gauges and
// histograms. Metric names are voicemill_<service>_<thing>_<unit>, and labels
// take their values from closed sets only, so that their number is bounded.
package telemetry
