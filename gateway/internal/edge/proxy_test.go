package edge_test

import (
	"crypto/tls"
	"net/netip"
	"testing"

	"github.com/voicemill/voicemill/gateway/internal/edge"
)

const proxyHeader = "\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c\xcb\x00\x71\x09\x0a\x00\x00\x01\x12\x67\x01\xbb"

// whoami answers with the address of the client.
func whoami(ex *edge.Exchange) { ex.Respond(text(200, ex.RemoteAddr().String())) }

func TestABalancerNamesItsClient(t *testing.T) {
	t.Parallel()
	local := []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	d := open(t, edge.Config{ProxyFrom: local}, whoami)
	c := d.dial()
	c.send(proxyHeader + get + get)
	c.want(200, "203.0.113.9:4711")
	c.want(200, "203.0.113.9:4711")
	slow := d.dial()
	for i := range len(proxyHeader) {
		slow.send(proxyHeader[i : i+1])
	}
	slow.send(get)
	slow.want(200, "203.0.113.9:4711")

	bare := d.dial()
	bare.send(get)
	if _, err := bare.r.ReadByte(); err == nil {
		t.Error("a balancer without its header was served")
	}
	waitFor(t, "the count", func() bool { return d.Stats().BadProxy.Load() == 1 })

	other := open(t, edge.Config{ProxyFrom: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}}, whoami).dial()
	other.send(proxyHeader + get)
	other.want(400, "")
}

func TestABalancerNamesItsClientBeforeTLS(t *testing.T) {
	t.Parallel()
	a := newAuthority(t)
	d := open(t, edge.Config{
		ProxyFrom: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")},
		TLS:       &edge.TLS{Certificates: []edge.CertificateFiles{a.issue("h", "h")}},
	}, whoami)
	raw := d.dial()
	raw.send(proxyHeader)
	c := tls.Client(raw.TCPConn, &tls.Config{RootCAs: a.pool, ServerName: "h"})
	if _, err := c.Write([]byte(get)); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 4096)
	n, err := c.Read(buf)
	if err != nil {
		t.Fatal(err)
	}
	if got := string(buf[:n]); got[len(got)-len("203.0.113.9:4711"):] != "203.0.113.9:4711" {
		t.Errorf("answer is %q", got)
	}
}
