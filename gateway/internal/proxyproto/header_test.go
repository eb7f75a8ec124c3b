package proxyproto_test

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/gateway/internal/proxyproto"
)

const (
	sig   = "\r\n\r\n\x00\r\nQUIT\n"
	four  = sig + "\x21\x11\x00\x0c" + "\xcb\x00\x71\x09" + "\x0a\x00\x00\x01" + "\x12\x67" + "\x01\xbb"
	local = sig + "\x20\x00\x00\x00"
)

func six() string {
	return sig + "\x21\x21\x00\x24" + "\x20\x01\x0d\xb8" + strings.Repeat("\x00", 11) + "\x01" + strings.Repeat("\x00", 16) + "\x12\x67\x01\xbb"
}

func TestHeadersAreRead(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ data, want string }{
		"IPv4":                 {four, "203.0.113.9:4711"},
		"IPv6":                 {six(), "[2001:db8::1]:4711"},
		"an extension":         {strings.Replace(four, "\x00\x0c", "\x00\x10", 1) + "\x04\x00\x01x", "203.0.113.9:4711"},
		"its own":              {local, "invalid AddrPort"},
		"its own, with a body": {sig + "\x20\x11\x00\x0c" + strings.Repeat("x", 12), "invalid AddrPort"},
		"unspecified":          {sig + "\x21\x00\x00\x02xx", "invalid AddrPort"},
		"text, IPv4":           {"PROXY TCP4 203.0.113.9 10.0.0.1 4711 443\r\n", "203.0.113.9:4711"},
		"text, IPv6":           {"PROXY TCP6 2001:db8::1 fd00::1 4711 443\r\n", "[2001:db8::1]:4711"},
		"text, its own":        {"PROXY UNKNOWN\r\n", "invalid AddrPort"},
		"text, another family": {"PROXY UNKNOWN ::1 ::1 1 2\r\n", "invalid AddrPort"},
	} {
		n, addr, err := proxyproto.Parse([]byte(c.data + "GET / HTTP/1.1\r\n"))
		require.NoError(t, err, name)
		require.Equal(t, len(c.data), n, name)
		require.Equal(t, c.want, addr.String(), name)
		for cut := range len(c.data) {
			_, _, err := proxyproto.Parse([]byte(c.data[:cut]))
			require.ErrorIs(t, err, proxyproto.ErrIncomplete, "%s, %d bytes", name, cut)
		}
	}
}

func TestOtherThingsAreRefused(t *testing.T) {
	t.Parallel()
	for name, data := range map[string]string{
		"HTTP":               "GET / HTTP/1.1\r\n",
		"text, other words":  "POST / HTTP/1.1\r\n",
		"text, no port":      "PROXY TCP4 1.1.1.1 2.2.2.2 1\r\n",
		"text, a large port": "PROXY TCP4 1.1.1.1 2.2.2.2 65536 2\r\n",
		"text, no address":   "PROXY TCP4 1.1.1 2.2.2.2 1 2\r\n",
		"text, other family": "PROXY TCP4 ::1 ::1 1 2\r\n",
		"text, UDP":          "PROXY UDP4 1.1.1.1 2.2.2.2 1 2\r\n",
		"text without end":   "PROXY UNKNOWN " + strings.Repeat("x", 107),
		"another version":    sig + "\x11\x11\x00\x0c" + strings.Repeat("x", 12),
		"another command":    sig + "\x22\x11\x00\x0c" + strings.Repeat("x", 12),
		"UDP":                sig + "\x21\x12\x00\x0c" + strings.Repeat("x", 12),
		"too few bytes":      sig + "\x21\x11\x00\x0b" + strings.Repeat("x", 12),
		"too many bytes":     sig + "\x21\x11\xff\xff",
		"a broken beginning": "\r\n\r\n\x00\r\nQUIT\r",
	} {
		_, _, err := proxyproto.Parse([]byte(data))
		require.ErrorIs(t, err, proxyproto.ErrMalformed, name)
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{four, six(), local, sig, "GET", "PROXY TCP4 203.0.113.9 10.0.0.1 4711 443\r\n", "PROXY UNKNOWN\r\n"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		n, addr, err := proxyproto.Parse(data)
		switch {
		case err != nil && (n != 0 || addr != netip.AddrPort{}):
			t.Error("something was read all the same")
		case err == nil && (n < len("PROXY UNKNOWN\r\n") || n > len(data) || n > proxyproto.MaxBytes):
			t.Errorf("%d of %d bytes", n, len(data))
		case err == nil:
			again, _, err := proxyproto.Parse(data[:n])
			if err != nil || again != n {
				t.Errorf("the header alone: %d, %v", again, err)
			}
		}
	})
}
