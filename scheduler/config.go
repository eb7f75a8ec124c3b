package scheduler

import (
	"fmt"
	"time"

	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/scheduler/internal/callback"
	"github.com/voicemill/voicemill/scheduler/internal/housekeeping"
	"github.com/voicemill/voicemill/scheduler/internal/plan"
	"github.com/voicemill/voicemill/scheduler/internal/release"
)

// Config is everything that can be set. Start from [DefaultConfig].
type Config struct {
	Plan         plan.Config         `embed:"" prefix:"plan-"`
	Release      release.Config      `embed:"" prefix:"release-"`
	Callback     callback.Config     `embed:"" prefix:"callback-"`
	Housekeeping housekeeping.Config `embed:"" prefix:"housekeeping-"`
	Grace        time.Duration       `help:"How long each part may take to end what it holds." default:"20s"`
	Limits       job.Limits          `config:"-"` // the zero value means job.DefaultLimits
}

// DefaultConfig returns the defaults that the tags of [Config] name, with
// [job.DefaultLimits].
func DefaultConfig() Config {
	return Config{
		Plan: plan.DefaultConfig(), Release: release.DefaultConfig(),
		Callback: callback.DefaultConfig(), Housekeeping: housekeeping.DefaultConfig(),
		Grace: 20 * time.Second, Limits: job.DefaultLimits(),
	}
}

func (c Config) withDefaults() Config {
	if c.Limits == (job.Limits{}) {
		c.Limits = job.DefaultLimits()
	}
	return c
}

// Validate reports the first setting, or relation of settings, that makes no sense.
func (c Config) Validate() error {
	c = c.withDefaults()
	for _, part := range []interface{ Validate() error }{c.Plan, c.Release, c.Callback, c.Housekeeping, c.Limits} {
		if err := part.Validate(); err != nil {
			return fmt.Errorf("scheduler: %w", err)
		}
	}
	if longest := max(c.Plan.Grace, c.Release.Grace, c.Callback.Grace); c.Grace <= longest {
		return fmt.Errorf("scheduler: grace (%s) must exceed the grace of every part (%s)", c.Grace, longest)
	}
	return nil
}
