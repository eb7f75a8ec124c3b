package outside_test

import (
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/platform/outside"
)

func TestHostsThatAreNotPublicAreNamed(t *testing.T) {
	t.Parallel()
	r := outside.Rule{Prefixes: []netip.Prefix{netip.MustParsePrefix("10.1.0.0/16")}}
	for host, says := range map[string]string{
		"example.com": "", "8.8.8.8": "", "2606:4700::1": "", "10.1.2.3": "", "::ffff:10.1.2.3": "",
		"localhost": "names of this machine or network", "a.LOCALHOST.": "names of this machine or network", "x.internal": "names of this machine or network",
		"127.0.0.1": "loopback addresses", "::1": "loopback addresses", "::ffff:127.0.0.1": "loopback addresses",
		"10.2.0.1": "private and link-local addresses", "169.254.169.254": "private and link-local addresses", "fe80::1%eth0": "private and link-local addresses",
		"127.1": "addresses in an unusual notation", "2130706433": "addresses in an unusual notation", "0x7f000001": "addresses in an unusual notation",
		"100.64.0.1": "special-purpose addresses", "64:ff9b::7f00:1": "special-purpose addresses", "224.0.0.1": "special-purpose addresses",
	} {
		require.Equal(t, says, r.Host(host), host)
	}
	require.Empty(t, outside.Rule{Any: true}.Host("localhost"))
}

func TestWhatCountsIsWhereANameLeads(t *testing.T) {
	t.Parallel()
	srv := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(srv.Close)
	_, port, err := net.SplitHostPort(srv.Listener.Addr().String())
	require.NoError(t, err)
	dial := func(r outside.Rule, address string) error {
		c, err := r.Transport(5*time.Second).DialContext(t.Context(), "tcp", address)
		if err == nil {
			require.NoError(t, c.Close())
		}
		return err
	}
	here := netip.MustParseAddrPort(srv.Listener.Addr().String())
	loopback := []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}
	require.NoError(t, dial(outside.Rule{Any: true}, here.String()))
	require.NoError(t, dial(outside.Rule{Prefixes: loopback, Ports: []uint16{here.Port()}}, here.String()))
	for name, err := range map[string]error{
		"an address":     dial(outside.Rule{Ports: []uint16{here.Port()}}, here.String()),
		"a name":         dial(outside.Rule{Ports: []uint16{here.Port()}}, net.JoinHostPort("localhost", port)),
		"another port":   dial(outside.Rule{Prefixes: loopback, Ports: []uint16{443}}, here.String()),
		"the zero value": dial(outside.Rule{}, here.String()),
	} {
		require.Error(t, err, name)
		require.True(t, outside.Refused(err), name)
	}
}
