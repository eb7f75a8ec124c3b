package callback

import (
	"net/netip"
	"time"

	"github.com/voicemill/voicemill/platform/config"
)

// Config says how callbacks are sent. Start from [DefaultConfig].
type Config struct {
	Concurrency   int            `help:"Callbacks sent at the same time." default:"64"`
	PerTenant     int            `help:"Callbacks of one tenant sent at the same time." default:"32"`
	PerHost       int            `help:"Callbacks sent at the same time to one host that answers; one that does not gets one at a time." default:"4"`
	Timeout       time.Duration  `help:"How long a receiver may take." default:"15s"`
	Lease         time.Duration  `help:"Time until a callback is sent again whose sender died." default:"60s"`
	Tick          time.Duration  `help:"How often due callbacks are looked for when nothing happens." default:"500ms"`
	Grace         time.Duration  `help:"How long callbacks on their way may take after stop." default:"5s"`
	AllowPrivate  bool           `help:"Allow callbacks to any address, private ones included. For trusted clients only."`
	AllowPrefixes []netip.Prefix `help:"Private networks that callbacks may be sent to." placeholder:"CIDR,..."`
	AllowPorts    []uint16       `help:"Ports that callbacks may be sent to beside 80 and 443." placeholder:"PORT,..."`
}

// DefaultConfig returns the defaults that the tags of [Config] name.
func DefaultConfig() Config {
	return Config{
		Concurrency: 64, PerTenant: 32, PerHost: 4, Timeout: 15 * time.Second, Lease: time.Minute,
		Tick: 500 * time.Millisecond, Grace: 5 * time.Second,
	}
}

// Validate reports the first setting that makes no sense.
func (c Config) Validate() error { return config.Check("callback", c) }

// Rules are what the settings must keep.
func (c Config) Rules() []config.Rule {
	return []config.Rule{
		{Says: "`concurrency`, `per-tenant` and `per-host` must be positive", Kept: min(c.Concurrency, c.PerTenant, c.PerHost) > 0},
		{Says: "`timeout`, `tick` and `grace` must be positive", Kept: min(c.Timeout, c.Tick, c.Grace) > 0},
		{Says: "`lease` must be at least twice `timeout`", Kept: c.Lease >= 2*c.Timeout},
	}
}
