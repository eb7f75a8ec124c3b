package callback

import (
	"net/http"

	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/platform/outside"
)

// newClient returns the client for untrusted receivers. It keeps no
// connections: two tenants never share one.
func newClient(cfg Config) *http.Client {
	rule := outside.Rule{Any: cfg.AllowPrivate, Prefixes: cfg.AllowPrefixes, Ports: job.CallbackPorts(cfg.AllowPorts)}
	transport := rule.Transport(cfg.Timeout)
	transport.MaxResponseHeaderBytes = maxAnswerBytes
	transport.ForceAttemptHTTP2 = true
	return &http.Client{
		Timeout: cfg.Timeout, Transport: transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}
