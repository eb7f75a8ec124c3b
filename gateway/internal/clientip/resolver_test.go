package clientip_test

import (
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/gateway/internal/clientip"
)

func proxies() clientip.Resolver {
	return clientip.New([]netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd00::/8")})
}

func TestOnlyTrustedProxiesAreBelieved(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		peer           string
		forwarded, xff []string
		want           string
	}{
		"no proxy":                         {"192.0.2.1", nil, []string{"203.0.113.9"}, "192.0.2.1"},
		"a proxy without a field":          {"10.0.0.1", nil, nil, "10.0.0.1"},
		"one proxy":                        {"10.0.0.1", nil, []string{"203.0.113.9"}, "203.0.113.9"},
		"a mapped proxy":                   {"::ffff:10.0.0.1", nil, []string{"203.0.113.9"}, "203.0.113.9"},
		"what the client claims is passed": {"10.0.0.1", nil, []string{"1.1.1.1, 203.0.113.9"}, "203.0.113.9"},
		"a claim to be a proxy":            {"10.0.0.1", nil, []string{"10.9.9.9, 203.0.113.9"}, "203.0.113.9"},
		"two proxies":                      {"10.0.0.1", nil, []string{"203.0.113.9, 10.0.0.2"}, "203.0.113.9"},
		"two fields":                       {"10.0.0.1", nil, []string{"1.1.1.1, 203.0.113.9", "10.0.0.3,10.0.0.2"}, "203.0.113.9"},
		"proxies only":                     {"10.0.0.1", nil, []string{"10.0.0.3, 10.0.0.2"}, "10.0.0.3"},
		"nonsense ends the search":         {"10.0.0.1", nil, []string{"203.0.113.9, unknown, 10.0.0.2"}, "10.0.0.2"},
		"an empty field":                   {"10.0.0.1", nil, []string{""}, "10.0.0.1"},
		"with a port":                      {"10.0.0.1", nil, []string{"203.0.113.9:4711"}, "203.0.113.9"},
		"IPv6 with a port":                 {"10.0.0.1", nil, []string{"[2001:db8::1]:4711"}, "2001:db8::1"},
		"IPv6 in brackets":                 {"10.0.0.1", nil, []string{"[2001:db8::1]"}, "2001:db8::1"},
		"Forwarded":                        {"fd00::1", []string{`for="[2001:db8::1]:99";proto=https`}, nil, "2001:db8::1"},
		"Forwarded of several":             {"10.0.0.1", []string{`for=1.1.1.1, for=203.0.113.9;by=x, For="10.0.0.2"`}, nil, "203.0.113.9"},
		"Forwarded wins":                   {"10.0.0.1", []string{"for=203.0.113.9"}, []string{"1.1.1.1"}, "203.0.113.9"},
		"Forwarded with a hidden client":   {"10.0.0.1", []string{"for=_hidden"}, []string{"1.1.1.1"}, "10.0.0.1"},
		"Forwarded without for":            {"10.0.0.1", []string{"proto=https"}, nil, "10.0.0.1"},
		"Forwarded with a comma in quotes": {"10.0.0.1", []string{`for="1.1.1.1,for=203.0.113.9"`}, nil, "10.0.0.1"},
	} {
		got := proxies().Resolve(netip.MustParseAddr(c.peer), c.forwarded, c.xff)
		require.Equal(t, c.want, got.String(), name)
	}
	require.Equal(t, "10.0.0.1", clientip.Resolver{}.Resolve(netip.MustParseAddr("10.0.0.1"), nil, []string{"1.1.1.1"}).String())
}

func FuzzResolve(f *testing.F) {
	f.Add("for=1.1.1.1, for=10.0.0.1", "1.1.1.1,10.0.0.1")
	f.Add("", "[::1]:80, ,,")
	f.Fuzz(func(t *testing.T, forwarded, xff string) {
		for _, fields := range [][]string{nil, {forwarded}} {
			if got := proxies().Resolve(netip.MustParseAddr("10.0.0.1"), fields, []string{xff}); !got.IsValid() {
				t.Errorf("no address from %q, %q", fields, xff)
			}
			if got := proxies().Resolve(netip.MustParseAddr("192.0.2.1"), fields, []string{xff}); got.String() != "192.0.2.1" {
				t.Errorf("a stranger is believed to be %s", got)
			}
		}
	})
}
