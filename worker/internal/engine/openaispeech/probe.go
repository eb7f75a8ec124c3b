package openaispeech

import (
	"context"
	"net"
	"net/url"

	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/worker/internal/engine"
)

var _ engine.Prober = (*Engine)(nil)

// Probe implements [engine.Prober]: the backend takes connections.
func (e *Engine) Probe(ctx context.Context) error {
	u, err := url.Parse(e.url)
	if err != nil {
		return err
	}
	host := u.Host
	if u.Port() == "" {
		host = net.JoinHostPort(u.Hostname(), u.Scheme) // the name of the scheme's port
	}
	d := net.Dialer{Timeout: e.cfg.ConnectTimeout}
	c, err := d.DialContext(ctx, "tcp", host)
	if err != nil {
		return &job.Error{Op: "openaispeech.Probe", Kind: job.Unavailable, Public: "The engine cannot be reached.", Err: err}
	}
	return c.Close()
}
