package operation

import (
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/voicemill/voicemill/job"
)

// callbackFaults refuses callbacks to addresses that are plainly not public, and
// to ports that none is sent to.
// It looks at what is written only; where a name leads is asked when the
// callback is sent, because it may change.
func (o *Operations) callbackFaults(s *job.Spec) (faults job.Faults) {
	if s.Callback == nil || o.cfg.CallbackPrivate {
		return faults
	}
	u, err := url.Parse(s.Callback.URL)
	if err != nil || u.Host == "" {
		return faults // a fault of the spec already
	}
	bad := func(what string) {
		faults.Add(job.Fault{Pointer: "/callback/url", Detail: fmt.Sprintf("callbacks to %s", what), Kind: job.Invalid})
	}
	if reason := o.privateHost(strings.ToLower(strings.TrimSuffix(u.Hostname(), "."))); reason != "" {
		bad(reason + " are not allowed here")
	}
	if _, ok := job.CallbackPort(u, o.cfg.CallbackPorts); !ok {
		bad(fmt.Sprintf("port %s are not allowed here; allowed: %s", Clip(u.Port()), numbers(o.cfg.CallbackPorts)))
	}
	return faults
}

func numbers(ports []uint16) string {
	said := make([]string, len(ports))
	for i, p := range ports {
		said[i] = strconv.Itoa(int(p))
	}
	return strings.Join(said, ", ")
}

var special = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"), netip.MustParsePrefix("100.64.0.0/10"), netip.MustParsePrefix("192.0.0.0/24"),
	netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("198.18.0.0/15"), netip.MustParsePrefix("198.51.100.0/24"),
	netip.MustParsePrefix("203.0.113.0/24"), netip.MustParsePrefix("240.0.0.0/4"), netip.MustParsePrefix("64:ff9b::/96"),
	netip.MustParsePrefix("64:ff9b:1::/48"), netip.MustParsePrefix("100::/64"), netip.MustParsePrefix("2001:db8::/32"),
	netip.MustParsePrefix("2002::/16"), netip.MustParsePrefix("5f00::/16"), netip.MustParsePrefix("fec0::/10"), netip.MustParsePrefix("::/96"),
}

// privateHost says why host is not public, or "".
func (o *Operations) privateHost(host string) string {
	if host == "localhost" || strings.HasSuffix(host, ".localhost") || strings.HasSuffix(host, ".local") || strings.HasSuffix(host, ".internal") {
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
	if slices.ContainsFunc(o.cfg.CallbackAllowed, func(p netip.Prefix) bool { return p.Contains(addr) }) {
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
