package backlog

import (
	"time"

	"github.com/voicemill/voicemill/platform/config"
)

// Config says what is wanted, and what is taken for true while no worker has
// told. Start from [DefaultConfig].
type Config struct {
	Drain     time.Duration `help:"Time in which the backlog of a pool is to be through; how many replicas of its workers are wanted follows from it." default:"10m"`
	ColdStart time.Duration `help:"How long a replica takes from its start to its first speech, while none of the pool has told." default:"1m"`
	Speed     float64       `help:"Seconds of audio that a replica makes in one second, while none of the pool has told." default:"10"`
}

// DefaultConfig returns the defaults that the tags of [Config] name.
func DefaultConfig() Config {
	return Config{Drain: 10 * time.Minute, ColdStart: time.Minute, Speed: 10}
}

// Rules are what the settings must keep.
func (c Config) Rules() []config.Rule {
	return []config.Rule{
		{Says: "`drain` and `cold-start` must be positive", Kept: min(c.Drain, c.ColdStart) > 0},
		{Says: "`speed` must be positive", Kept: c.Speed > 0},
	}
}
