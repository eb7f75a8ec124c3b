package blob

import (
	"net/http"
	"sync/atomic"

	"github.com/voicemill/voicemill/platform/telemetry"
)

// traffic counts what goes to the server and what comes back.
type traffic struct {
	base http.RoundTripper

	puts, gets, heads, others atomic.Uint64 // requests
	sent, received            atomic.Uint64 // bytes of bodies, as they were announced
}

// Observe registers what s has asked of the server. It is called once for a registry.
func (s *Store) Observe(reg *telemetry.Registry) {
	t := s.traffic
	read := func(n *atomic.Uint64) func() float64 { return func() float64 { return float64(n.Load()) } }
	reg.CounterFuncs("voicemill_bucket_requests_total", "Requests of this process to the object store, those that were repeated included.", "method",
		map[string]func() float64{"put": read(&t.puts), "get": read(&t.gets), "head": read(&t.heads), "other": read(&t.others)})
	reg.CounterFuncs("voicemill_bucket_bytes_total", "Bytes of the bodies of these requests and of the answers to them.", "direction",
		map[string]func() float64{"sent": read(&t.sent), "received": read(&t.received)})
}

// RoundTrip implements http.RoundTripper.
func (t *traffic) RoundTrip(r *http.Request) (*http.Response, error) {
	switch r.Method {
	case http.MethodPut:
		t.puts.Add(1)
	case http.MethodGet:
		t.gets.Add(1)
	case http.MethodHead:
		t.heads.Add(1)
	default:
		t.others.Add(1)
	}
	if r.ContentLength > 0 {
		t.sent.Add(uint64(r.ContentLength))
	}
	resp, err := t.base.RoundTrip(r)
	if err == nil && r.Method == http.MethodGet && resp.ContentLength > 0 {
		t.received.Add(uint64(resp.ContentLength))
	}
	return resp, err //nolint:wrapcheck // the caller's own error
}
