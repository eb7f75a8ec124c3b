// Command scheduler reads manuscripts, plans jobs, releases work fairly and
// sends callbacks. It needs Postgres, NATS and a bucket; scheduler --help lists
// its settings. Any number may run; one of them leads.
package main

import (
	"context"
	"crypto/rand"
	"os"

	"github.com/voicemill/voicemill/platform/process"
	"github.com/voicemill/voicemill/scheduler"
)

type settings struct {
	process.Settings `embed:""`
	Scheduler        scheduler.Config `embed:""`
}

func main() { os.Exit(run()) }

func run() int {
	var s settings
	return process.Main("scheduler", "Plans jobs, releases work fairly and sends callbacks.", &s, &s.Settings,
		func(ctx context.Context, c process.Conns) error {
			return scheduler.Run(ctx, s.Scheduler, scheduler.Deps{
				Log: c.Log, Registry: c.Registry, Bus: c.Bus, DB: c.DB, Blob: c.Blob, Random: rand.Reader,
			})
		})
}
