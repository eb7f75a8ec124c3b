package clientip

import (
	"net/netip"
	"slices"
	"strings"
)

// Resolver believes what proxies of its prefixes say. The zero value believes nobody.
type Resolver struct{ trusted []netip.Prefix }

// New returns a resolver that trusts proxies of these prefixes.
func New(trusted []netip.Prefix) Resolver { return Resolver{slices.Clone(trusted)} }

// Trusts reports whether addr is a proxy's.
func (r Resolver) Trusts(addr netip.Addr) bool {
	addr = addr.Unmap()
	return slices.ContainsFunc(r.trusted, func(p netip.Prefix) bool { return p.Contains(addr) })
}

// Any reports whether there is any proxy to trust.
func (r Resolver) Any() bool { return len(r.trusted) > 0 }

// most hops are looked at; who claims more is believed up to there.
const most = 16

// Resolve returns the address of the client behind peer. forwarded and xff are
// the values of the Forwarded (RFC 7239) and X-Forwarded-For fields in the order
// of the head; Forwarded wins if both are there. Each list is read from its end,
// which the nearest proxy wrote, as long as the addresses are proxies' own: the
// first one that is not is the client. What cannot be read ends the search, so
// that a client can claim nothing.
func (r Resolver) Resolve(peer netip.Addr, forwarded, xff []string) netip.Addr {
	peer = peer.Unmap()
	if !r.Trusts(peer) {
		return peer
	}
	fields, read := xff, parse
	if len(forwarded) > 0 {
		fields, read = forwarded, parseForwarded
	}
	at, hops := peer, 0
	for _, field := range slices.Backward(fields) {
		for rest, more := field, true; more; {
			var last string
			last, rest, more = cutLast(rest)
			addr, ok := read(last)
			if hops++; !ok || hops > most {
				return at
			}
			if at = addr; !r.Trusts(addr) {
				return at
			}
		}
	}
	return at
}

// cutLast splits a list at its last comma.
func cutLast(s string) (last, rest string, more bool) {
	if i := strings.LastIndexByte(s, ','); i >= 0 {
		return s[i+1:], s[:i], true
	}
	return s, "", false
}

// parse reads an address, with or without a port.
func parse(s string) (netip.Addr, bool) {
	s = strings.TrimSpace(s)
	if addr, err := netip.ParseAddr(strings.TrimSuffix(strings.TrimPrefix(s, "["), "]")); err == nil {
		return addr.Unmap().WithZone(""), true
	}
	if ap, err := netip.ParseAddrPort(s); err == nil {
		return ap.Addr().Unmap().WithZone(""), true
	}
	return netip.Addr{}, false
}

// parseForwarded reads the for parameter of one element of Forwarded. A comma in
// a quoted value would have been cut apart, which leaves nothing that is an
// address.
func parseForwarded(element string) (netip.Addr, bool) {
	for pair := range strings.SplitSeq(element, ";") {
		name, value, found := strings.Cut(strings.TrimSpace(pair), "=")
		if found && strings.EqualFold(name, "for") {
			if n := len(value); n >= 2 && value[0] == '"' && value[n-1] == '"' {
				value = value[1 : n-1]
			}
			return parse(value)
		}
	}
	return netip.Addr{}, false
}
