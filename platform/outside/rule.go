package outside

import (
	"errors"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"time"

	"code.dny.dev/ssrf"
)

// Rule says where a client may have us go. The zero value allows public addresses
// and no port.
type Rule struct {
	Any      bool           // every address and port, private ones included
	Prefixes []netip.Prefix // private networks that are allowed
	Ports    []uint16       // that are allowed
}

// Transport returns a transport whose every connection keeps the rule. It keeps no
// connection for a second request, so that two clients never share one, unless
// its maker changes that. No step takes longer than timeout.
func (r Rule) Transport(timeout time.Duration) *http.Transport {
	dialer := &net.Dialer{Timeout: timeout, KeepAlive: -1}
	if !r.Any {
		dialer.Control = r.guard().Safe
	}
	return &http.Transport{
		DialContext: dialer.DialContext, Proxy: nil, DisableKeepAlives: true,
		TLSHandshakeTimeout: timeout, ResponseHeaderTimeout: timeout, ExpectContinueTimeout: time.Second,
	}
}

func (r Rule) guard() *ssrf.Guardian {
	var v4, v6 []netip.Prefix
	for _, p := range r.Prefixes {
		if p.Addr().Is4() {
			v4 = append(v4, p)
		} else {
			v6 = append(v6, p)
		}
	}
	return ssrf.New(ssrf.WithAllowedV4Prefixes(v4...), ssrf.WithAllowedV6Prefixes(v6...), ssrf.WithPorts(r.Ports...))
}

// Refused reports that a connection was not made because of the rule.
func Refused(err error) bool {
	return errors.Is(err, ssrf.ErrProhibitedIP) || errors.Is(err, ssrf.ErrProhibitedPort) ||
		errors.Is(err, ssrf.ErrProhibitedNetwork) || errors.Is(err, ssrf.ErrInvalidHostPort)
}

//nolint:gochecknoglobals // a table
var special = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"), netip.MustParsePrefix("100.64.0.0/10"), netip.MustParsePrefix("192.0.0.0/24"),
	netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("198.18.0.0/15"), netip.MustParsePrefix("198.51.100.0/24"),
	netip.MustParsePrefix("203.0.113.0/24"), netip.MustParsePrefix("240.0.0.0/4"), netip.MustParsePrefix("64:ff9b::/96"),
	netip.MustParsePrefix("64:ff9b:1::/48"), netip.MustParsePrefix("100::/64"), netip.MustParsePrefix("2001:db8::/32"),
	netip.MustParsePrefix("2002::/16"), netip.MustParsePrefix("5f00::/16"), netip.MustParsePrefix("fec0::/10"), netip.MustParsePrefix("::/96"),
}

// Host says of a host as it is written why it is plainly not allowed, in a noun
// phrase such as "loopback addresses", or "". A name that leads to such an address
// is found out when it is dialled.
func (r Rule) Host(host string) string {
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	switch {
	case r.Any:
		return ""
	case host == "localhost", strings.HasSuffix(host, ".localhost"), strings.HasSuffix(host, ".local"), strings.HasSuffix(host, ".internal"):
		return "names of this machine or network"
	}
	addr, err := netip.ParseAddr(host)
	if err != nil {
		if numeric(host) {
			return "addresses in an unusual notation"
		}
		return ""
	}
	addr = addr.WithZone("").Unmap()
	if slices.ContainsFunc(r.Prefixes, func(p netip.Prefix) bool { return p.Contains(addr) }) {
		return ""
	}
	switch {
	case addr.IsLoopback():
		return "loopback addresses"
	case addr.IsPrivate(), addr.IsLinkLocalUnicast():
		return "private and link-local addresses"
	case addr.IsMulticast(), addr.IsUnspecified(), slices.ContainsFunc(special, func(p netip.Prefix) bool { return p.Contains(addr) }):
		return "special-purpose addresses"
	}
	return ""
}

// numeric reports whether some resolver would take host for a number: its last
// label is one, as in 127.1, 2130706433 or 0x7f000001.
func numeric(host string) bool {
	last := host[strings.LastIndexByte(host, '.')+1:]
	hex, isHex := strings.CutPrefix(last, "0x")
	digits := "0123456789"
	if isHex {
		last, digits = hex, "0123456789abcdef"
	}
	return strings.Trim(last, digits) == "" && (last != "" || isHex)
}
