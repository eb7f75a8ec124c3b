package edge

import (
	"errors"
	"log/slog"
	"net/netip"
	"slices"

	"github.com/voicemill/voicemill/gateway/internal/proxyproto"
)

// proxied reports whether addr is a load balancer's that names its clients.
func (s *Server) proxied(addr netip.Addr) bool {
	addr = addr.Unmap()
	return slices.ContainsFunc(s.cfg.ProxyFrom, func(p netip.Prefix) bool { return p.Contains(addr) })
}

// firstPhase is how a connection begins whose peer is the client.
func (c *conn) firstPhase() phase {
	if c.srv.cfg.Frames == nil && c.srv.certs == nil {
		return phaseHTTP
	}
	return phaseSniff
}

// readProxy reads the header of a load balancer. It returns what follows it.
func (c *conn) readProxy(data []byte) []byte {
	n, client, err := proxyproto.Parse(data)
	if errors.Is(err, proxyproto.ErrIncomplete) {
		return data
	}
	if err != nil {
		c.srv.stats.BadProxy.Add(1)
		c.srv.log.LogAttrs(c.srv.base, slog.LevelDebug, "connection without a PROXY header", slog.String("remote", c.remote.String()))
		c.close()
		return nil
	}
	if client.IsValid() {
		c.remote = client
	}
	c.become(c.firstPhase())
	return data[n:]
}
