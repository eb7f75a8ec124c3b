package scheduler

import (
	"fmt"
	"time"

	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/platform/blob/foreign"
	"github.com/voicemill/voicemill/platform/config"
	"github.com/voicemill/voicemill/scheduler/internal/backlog"
	"github.com/voicemill/voicemill/scheduler/internal/callback"
	"github.com/voicemill/voicemill/scheduler/internal/export"
	"github.com/voicemill/voicemill/scheduler/internal/housekeeping"
	"github.com/voicemill/voicemill/scheduler/internal/plan"
	"github.com/voicemill/voicemill/scheduler/internal/release"
	"github.com/voicemill/voicemill/scheduler/internal/retention"
)

// Config is everything that can be set. Start from [DefaultConfig].
type Config struct {
	Plan         plan.Config         `embed:"" prefix:"plan-"`
	Release      release.Config      `embed:"" prefix:"release-"`
	Callback     callback.Config     `embed:"" prefix:"callback-"`
	Export       export.Config       `embed:"" prefix:"export-"`
	Bucket       foreign.Config      `embed:"" prefix:"bucket-"`
	Housekeeping housekeeping.Config `embed:"" prefix:"housekeeping-"`
	Backlog      backlog.Config      `embed:"" prefix:"backlog-"`
	Retention    retention.Config    `embed:"" prefix:"retention-"`
	Grace        time.Duration       `help:"How long each part may take to end what it holds." default:"20s"`
	Limits       job.Limits          `config:"-"` // the zero value means job.DefaultLimits
}

// DefaultConfig returns the defaults that the tags of [Config] name, with
// [job.DefaultLimits].
func DefaultConfig() Config {
	return Config{
		Plan: plan.DefaultConfig(), Release: release.DefaultConfig(),
		Callback: callback.DefaultConfig(), Export: export.DefaultConfig(), Housekeeping: housekeeping.DefaultConfig(), Backlog: backlog.DefaultConfig(), Retention: retention.DefaultConfig(),
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
	if err := config.Check("scheduler", c); err != nil {
		return err
	}
	if err := c.Limits.Validate(); err != nil {
		return fmt.Errorf("scheduler: %w", err)
	}
	return nil
}

// Rules are what the settings must keep.
func (c Config) Rules() []config.Rule {
	return []config.Rule{{
		Says: "`grace` must exceed `plan-grace`, `release-grace`, `callback-grace` and `export-grace`",
		Kept: c.Grace > max(c.Plan.Grace, c.Release.Grace, c.Callback.Grace, c.Export.Grace),
	}}
}
