package web

import (
	"bytes"
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
func (c *Call) cors(add func(name, value string), status int, allow string) {
	if len(c.s.cfg.Origins) == 0 {
		return
	}
	any := slices.Contains(c.s.cfg.Origins, "*")
	if !any {
		add("Vary", "Origin")
	}
	origin := c.Header("origin")
	switch {
	case len(origin) == 0:
		return
	case any:
		add("Access-Control-Allow-Origin", "*")
	case slices.Contains(c.s.cfg.Origins, string(origin)):
		add("Access-Control-Allow-Origin", string(origin))
	default:
		return
	}
	if c.Method() == http.MethodOptions && status == http.StatusNoContent && c.Header("access-control-request-method") != nil {
		add("Access-Control-Allow-Methods", allow)
		add("Access-Control-Allow-Headers", corsHeaders)
		add("Access-Control-Max-Age", corsMaxAge)
		return
	}
	add("Access-Control-Expose-Headers", corsExposed)
}

// fromElsewhere reports whether the request comes from a web page that is neither of
// this server nor of an origin that is allowed by name: "*" is meant for pages
// that send a key, and must not lend every page the certificate of its visitor.
func (c *Call) fromElsewhere() bool {
	origin := c.Header("origin")
	if len(origin) == 0 {
		return false // browsers say where a request is from unless it is ours or can only be a read that its page cannot see
	}
	host, secure := bytes.CutPrefix(origin, []byte("https://"))
	if secure && bytes.EqualFold(host, c.Host()) {
		return false
	}
	return !slices.Contains(c.s.cfg.Origins, string(origin))
}
