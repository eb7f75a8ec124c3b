// Package carrier brings calls from the edge to the API and answers back. It
// names every request, keeps the trace context, counts, times and writes the
// access log; the API sees calls, not bytes.
package carrier
