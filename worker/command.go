package worker

import "github.com/voicemill/voicemill/platform/process"

// Settings are everything that the command worker can be told.
type Settings struct {
	Process process.Settings `embed:""`
	Worker  Config           `embed:""`
}

// Validate reports the first setting that makes no sense.
func (s *Settings) Validate() error {
	if err := s.Process.Validate(); err != nil {
		return err //nolint:wrapcheck // says whose it is
	}
	return s.Worker.Validate()
}
