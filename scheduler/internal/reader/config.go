package reader

import (
	"time"

	"github.com/voicemill/voicemill/platform/config"
)

// Config bounds what one document may cost. Start from [DefaultConfig].
type Config struct {
	MemoryBytes int64         `help:"Memory that reading one document may take; beyond it the document is refused." default:"536870912"`
	CPU         time.Duration `help:"Processor time that reading one document may take." default:"1m"`
	OutputBytes int64         `help:"Bytes that a document may become when it is read: its text, with the places where it came from." default:"536870912"`
}

// DefaultConfig returns the defaults that the tags of [Config] name.
func DefaultConfig() Config {
	return Config{MemoryBytes: 512 << 20, CPU: time.Minute, OutputBytes: 512 << 20}
}

// Validate reports the first setting that makes no sense.
func (c Config) Validate() error { return config.Check("reader", c) }

// Rules are what the settings must keep.
func (c Config) Rules() []config.Rule {
	return []config.Rule{
		{Says: "`memory-bytes` must be at least 67108864", Kept: c.MemoryBytes >= 64<<20},
		{Says: "`cpu` must be at least a second", Kept: c.CPU >= time.Second},
		{Says: "`output-bytes` must be at least 1048576", Kept: c.OutputBytes >= 1<<20},
	}
}
