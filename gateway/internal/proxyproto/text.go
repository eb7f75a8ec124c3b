package proxyproto

import (
	"bytes"
	"net/netip"
	"strconv"
	"strings"
)

const (
	textStart    = "PROXY "
	maxTextBytes = 107
	textFields   = 6 // PROXY TCP4 source destination port port
)

// parseText is [Parse] for version 1, a line of text.
func parseText(data []byte) (int, netip.AddrPort, error) {
	known := min(len(data), len(textStart))
	if string(data[:known]) != textStart[:known] {
		return 0, netip.AddrPort{}, ErrMalformed
	}
	end := bytes.Index(data[:min(len(data), maxTextBytes)], []byte("\r\n"))
	if end < 0 {
		if len(data) >= maxTextBytes {
			return 0, netip.AddrPort{}, ErrMalformed
		}
		return 0, netip.AddrPort{}, ErrIncomplete
	}
	n, fields := end+2, strings.Split(string(data[:end]), " ")
	if fields[1] == "UNKNOWN" {
		return n, netip.AddrPort{}, nil
	}
	if len(fields) != textFields || fields[1] != "TCP4" && fields[1] != "TCP6" {
		return 0, netip.AddrPort{}, ErrMalformed
	}
	addr, err := netip.ParseAddr(fields[2])
	port, portErr := strconv.ParseUint(fields[4], 10, 16)
	if err != nil || portErr != nil || addr.Zone() != "" || addr.Is4() != (fields[1] == "TCP4") {
		return 0, netip.AddrPort{}, ErrMalformed
	}
	return n, netip.AddrPortFrom(addr.Unmap(), uint16(port)), nil
}
