package worker

import (
	"github.com/voicemill/voicemill/platform/process"
)

// Settings are everything that the command worker can be told.
type Settings struct {
	Process process.Settings `embed:""`
	Worker  Config           `embed:""`
}

// Validate looks at the files that the settings name.
func (s *Settings) Validate() error { return s.Worker.CheckFiles() }
