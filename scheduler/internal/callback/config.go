package callback

import (
	"fmt"
	"net/netip"
	"time"
)

// Config says how callbacks are sent. Start from [DefaultConfig].
type Config struct {
	Concurrency   int            `help:"Callbacks sent at the same time." default:"16"`
	PerHost       int            `help:"Callbacks sent to one host at the same time." default:"4"`
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
		Concurrency: 16, PerHost: 4, Timeout: 15 * time.Second, Lease: time.Minute,
		Tick: 500 * time.Millisecond, Grace: 5 * time.Second,
	}
}

// Validate reports the first setting that makes no sense.
func (c Config) Validate() error {
	switch {
	case c.Concurrency < 1 || c.PerHost < 1:
		return fmt.Errorf("callback: concurrency is %d and per_host %d; both must be positive", c.Concurrency, c.PerHost)
	case c.Timeout <= 0 || c.Tick <= 0 || c.Grace <= 0:
		return fmt.Errorf("callback: timeout is %s, tick %s, grace %s; all must be positive", c.Timeout, c.Tick, c.Grace)
	case c.Lease < 2*c.Timeout:
		return fmt.Errorf("callback: lease (%s) must be at least twice timeout (%s)", c.Lease, c.Timeout)
	}
	return nil
}
