// Package trace reads the trace context of a request (W3C Trace Context) and
// begins a trace in place of one that cannot be read. The gateway passes both
// fields on as they came; it adds no span of its own.
package trace
