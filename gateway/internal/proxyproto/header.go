package proxyproto

import (
	"encoding/binary"
	"errors"
	"net/netip"
)

// signature starts every header; no other protocol on our port starts so.
const signature = "\r\n\r\n\x00\r\nQUIT\n"

const (
	fixedBytes = len(signature) + 4
	// MaxBytes is the largest header that is read. Addresses have 36 bytes, the
	// rest is for extensions, which are skipped.
	MaxBytes = 2048

	commandLocal = 0x20
	commandProxy = 0x21
	familyNone   = 0x00
	familyTCP4   = 0x11
	familyTCP6   = 0x21
	tcp4Bytes    = 12
	tcp6Bytes    = 36
)

// ErrIncomplete means that the header goes on behind data.
var ErrIncomplete = errors.New("proxyproto: the header is not complete")

// ErrMalformed means that data is not a header that can be read.
var ErrMalformed = errors.New("proxyproto: not a PROXY header")

// Parse reads the header at the beginning of data and returns its length and
// the client's address. The address is invalid if the proxy speaks for itself,
// which health checks do: then the connection's own address counts.
func Parse(data []byte) (n int, client netip.AddrPort, err error) {
	if len(data) > 0 && data[0] == textStart[0] {
		return parseText(data)
	}
	known := min(len(data), len(signature))
	if string(data[:known]) != signature[:known] {
		return 0, netip.AddrPort{}, ErrMalformed
	}
	if len(data) < fixedBytes {
		return 0, netip.AddrPort{}, ErrIncomplete
	}
	command, family := data[12], data[13]
	n = fixedBytes + int(binary.BigEndian.Uint16(data[14:]))
	if command != commandLocal && command != commandProxy || n > MaxBytes {
		return 0, netip.AddrPort{}, ErrMalformed
	}
	if len(data) < n {
		return 0, netip.AddrPort{}, ErrIncomplete
	}
	body := data[fixedBytes:n]
	switch {
	case command == commandLocal || family == familyNone:
		return n, netip.AddrPort{}, nil
	case family == familyTCP4 && len(body) >= tcp4Bytes:
		addr := netip.AddrFrom4([4]byte(body))
		return n, netip.AddrPortFrom(addr, binary.BigEndian.Uint16(body[8:])), nil
	case family == familyTCP6 && len(body) >= tcp6Bytes:
		addr := netip.AddrFrom16([16]byte(body)).Unmap()
		return n, netip.AddrPortFrom(addr, binary.BigEndian.Uint16(body[32:])), nil
	}
	return 0, netip.AddrPort{}, ErrMalformed // a client over something other than TCP
}
