package carrier

import (
	"net/http"
	"slices"
)

const (
	corsHeaders = "Authorization, Content-Encoding, Content-Type, Idempotency-Key, If-None-Match, If-Range, Last-Event-ID, Prefer, Range, Traceparent, Tracestate, X-Request-Id"
	corsExposed = "Accept-Ranges, Content-Disposition, Content-Range, ETag, Location, Preference-Applied, RateLimit, RateLimit-Policy, Retry-After, Traceparent, X-Request-Id"
	corsMaxAge  = "600" // seconds for which a browser may remember a preflight
)

// cors adds what lets a page of an allowed origin read the answer. Credentials
// are not allowed: a key is sent in a header field that the page itself sets.
func (x *exchange) cors(add func(name, value string), status int, allow string) {
	if len(x.k.cfg.Origins) == 0 {
		return
	}
	any := slices.Contains(x.k.cfg.Origins, "*")
	if !any {
		add("Vary", "Origin")
	}
	origin := x.Header("origin")
	switch {
	case len(origin) == 0:
		return
	case any:
		add("Access-Control-Allow-Origin", "*")
	case slices.Contains(x.k.cfg.Origins, string(origin)):
		add("Access-Control-Allow-Origin", string(origin))
	default:
		return
	}
	if x.Method() == http.MethodOptions && status == http.StatusNoContent && x.Header("access-control-request-method") != nil {
		add("Access-Control-Allow-Methods", allow)
		add("Access-Control-Allow-Headers", corsHeaders)
		add("Access-Control-Max-Age", corsMaxAge)
		return
	}
	add("Access-Control-Expose-Headers", corsExposed)
}
