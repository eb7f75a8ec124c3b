package foreign

import (
	"net/netip"

	"github.com/voicemill/voicemill/platform/config"
	"github.com/voicemill/voicemill/platform/outside"
	"github.com/voicemill/voicemill/platform/seal"
)

// Config says which buckets of others may be reached, and with which keys their
// credentials are kept. The zero value allows public ones with TLS, and has no key.
type Config struct {
	Keys          config.Secret  `help:"Keys that credentials of buckets are encrypted with, as id:base64 of 32 bytes, the one for new ones first; without any there are no buckets of owners." placeholder:"ID:KEY,..."`
	AllowPrivate  bool           `help:"Allow buckets at any address and port, private ones included. For trusted clients only."`
	AllowPrefixes []netip.Prefix `help:"Private networks that buckets may be in." placeholder:"CIDR,..."`
	AllowPorts    []uint16       `help:"Ports that buckets may be at beside 443, and 80 where allow-plain is given." placeholder:"PORT,..."`
	AllowPlain    bool           `help:"Allow buckets without TLS: their files travel unencrypted."`
}

// Validate reports the first setting that makes no sense.
func (c Config) Validate() error { return config.Check("buckets", c) }

// Rules are what the settings must keep.
func (c Config) Rules() []config.Rule {
	_, err := c.Sealing()
	return []config.Rule{config.ByFault("`keys` must be id:base64 of 32 bytes each, at most 16", err)}
}

// Sealing returns the keys that credentials are kept with.
func (c Config) Sealing() (seal.Keys, error) { return seal.Parse(c.Keys.Reveal()) }

func (c Config) rule() outside.Rule {
	ports := append([]uint16{443}, c.AllowPorts...)
	if c.AllowPlain {
		ports = append(ports, 80)
	}
	return outside.Rule{Any: c.AllowPrivate, Prefixes: c.AllowPrefixes, Ports: ports}
}
