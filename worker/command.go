package worker

import (
	"github.com/voicemill/voicemill/platform/config"
	"github.com/voicemill/voicemill/platform/process"
)

// Settings are everything that the command worker can be told.
type Settings struct {
	Process process.Settings `embed:""`
	Worker  Config           `embed:""`
}

// Rules are what the settings must keep.
func (s *Settings) Rules() []config.Rule {
	return []config.Rule{{
		Says: "`lease-heartbeat` must be at most a third of `bus-ack-wait`",
		Kept: 3*s.Worker.Heartbeat <= s.Process.Bus.AckWait,
	}}
}

// Validate looks at the files that the settings name.
func (s *Settings) Validate() error { return s.Worker.CheckFiles() }
