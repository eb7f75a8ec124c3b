package scheduler

import (
	"github.com/voicemill/voicemill/platform/blob"
	"github.com/voicemill/voicemill/platform/bus"
	"github.com/voicemill/voicemill/platform/pg"
)

// Settings are everything that the command scheduler can be told.
type Settings struct {
	Scheduler Config      `embed:""`
	DB        pg.Config   `embed:"" prefix:"db-"`
	Bus       bus.Config  `embed:"" prefix:"bus-"`
	Blob      blob.Config `embed:"" prefix:"blob-"`

	Admin         string `help:"Where health, readiness, metrics and profiles are served. Not for clients." default:"127.0.0.1:7862"`
	AdminProfiles bool   `help:"Serve profiles (/debug/pprof) on the admin port to other machines, too; they show memory." default:"false"`
	Migrate       bool   `help:"Bring the database to the newest schema at the start." default:"true"`
	LogLevel      string `help:"Least level that is logged." default:"info" enum:"debug,info,warn,error"`
	LogFormat     string `help:"Form of the log on standard output." default:"json" enum:"json,text"`
}
