package export

import (
	"time"

	"github.com/voicemill/voicemill/platform/config"
)

// Config says how files are delivered into buckets of owners. Start from [DefaultConfig].
type Config struct {
	Concurrency int           `help:"Jobs whose files are delivered into buckets at the same time; each takes up to 8 MiB." default:"4"`
	PerTenant   int           `help:"Of these, jobs of one tenant." default:"2"`
	Tick        time.Duration `help:"How often due deliveries are looked for when nothing happens." default:"1s"`
	RetryFrom   time.Duration `help:"Wait after the first attempt at a bucket that is away; doubled each time." default:"1s"`
	RetryTo     time.Duration `help:"Longest of these waits." default:"1m"`
	Patience    time.Duration `help:"How long a bucket may be away before a delivery is given up; its owner may ask for it again." default:"24h"`
	Grace       time.Duration `help:"How long a file on its way may take after stop; what is left of it is taken up at the next start." default:"5s"`
}

// DefaultConfig returns the defaults that the tags of [Config] name.
func DefaultConfig() Config {
	return Config{
		Concurrency: 4, PerTenant: 2, Tick: time.Second, RetryFrom: time.Second, RetryTo: time.Minute, Patience: 24 * time.Hour, Grace: 5 * time.Second,
	}
}

// Validate reports the first setting that makes no sense.
func (c Config) Validate() error { return config.Check("export", c) }

// Rules are what the settings must keep.
func (c Config) Rules() []config.Rule {
	return []config.Rule{
		{Says: "`concurrency` and `per-tenant` must be positive", Kept: min(c.Concurrency, c.PerTenant) > 0},
		{Says: "`tick`, `grace` and `patience` must be positive", Kept: min(c.Tick, c.Grace, c.Patience) > 0},
		{Says: "`retry-from` must be positive and at most `retry-to`", Kept: c.RetryFrom > 0 && c.RetryFrom <= c.RetryTo},
	}
}

// wait returns how long after failed attempt n, from 1, the next is due. random is in [0, 1).
func (c Config) wait(n int, random float64) time.Duration {
	d := c.RetryTo
	if n = max(n, 1); n < 32 && c.RetryFrom<<(n-1) > 0 {
		d = min(d, c.RetryFrom<<(n-1))
	}
	return d + time.Duration(float64(d)*0.1*(2*random-1))
}
