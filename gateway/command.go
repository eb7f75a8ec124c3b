package gateway

import (
	"github.com/voicemill/voicemill/platform/blob"
	"github.com/voicemill/voicemill/platform/bus"
	"github.com/voicemill/voicemill/platform/pg"
)

// Settings are everything that the command gateway can be told.
type Settings struct {
	Gateway Config      `embed:""`
	DB      pg.Config   `embed:"" prefix:"db-"`
	Bus     bus.Config  `embed:"" prefix:"bus-"`
	Blob    blob.Config `embed:"" prefix:"blob-"`

	Admin         string `help:"Where health, readiness, metrics and profiles are served. Not for clients." default:"127.0.0.1:7861"`
	AdminProfiles bool   `help:"Serve profiles (/debug/pprof) on the admin port to other machines, too; they show memory." default:"false"`
	PIDFile       string `help:"File to write the process id to when clients are served." placeholder:"FILE"`
	LogLevel      string `help:"Least level that is logged." default:"info" enum:"debug,info,warn,error"`
	LogFormat     string `help:"Form of the log on standard output." default:"json" enum:"json,text"`
}

// Validate looks at the files that the settings name.
func (s *Settings) Validate() error { return s.Gateway.CheckFiles() }
