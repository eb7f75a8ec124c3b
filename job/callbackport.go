package job

import (
	"net/url"
	"slices"
	"strconv"
)

// CallbackPorts are the ports that callbacks may be sent to: those of HTTP and
// HTTPS, and what the operator adds. Who accepts a job and who sends its callbacks
// ask the same rule.
func CallbackPorts(added []uint16) []uint16 { return append([]uint16{80, 443}, added...) }

// CallbackPort returns the port that u leads to, and whether it is among ports.
func CallbackPort(u *url.URL, ports []uint16) (port uint16, ok bool) {
	switch {
	case u.Port() != "":
		n, err := strconv.ParseUint(u.Port(), 10, 16)
		if err != nil {
			return 0, false
		}
		port = uint16(n)
	case u.Scheme == "http":
		port = 80
	default:
		port = 443
	}
	return port, slices.Contains(ports, port)
}
