package openaispeech

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"time"

	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/worker/internal/engine"
)

var _ engine.Prober = (*Engine)(nil)

// Probe implements [engine.Prober]: a backend takes connections and does not rest
// because it failed. One that is only busy works.
func (e *Engine) Probe(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	results := make(chan error, len(e.pool.backends))
	for _, b := range e.pool.backends {
		go func() { results <- e.probe(ctx, b) }() // ends with ctx
	}
	var errs []error
	for range e.pool.backends {
		err := <-results
		if err == nil {
			return nil
		}
		errs = append(errs, err)
	}
	return &job.Error{Op: "openaispeech.Probe", Kind: job.Unavailable, Public: "No backend of the engine answers.", Err: errors.Join(errs...)}
}

func (e *Engine) probe(ctx context.Context, b *backend) error {
	if why := e.pool.dead(b, time.Now()); why != nil {
		return fmt.Errorf("%s: %w", b.name, why)
	}
	u, err := url.Parse(b.url)
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
		return err
	}
	return c.Close()
}

// dead returns why b rests, if it failed.
func (p *pool) dead(b *backend, now time.Time) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if b.failed && now.Before(b.restUntil) {
		return b.why
	}
	return nil
}
