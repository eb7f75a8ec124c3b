// Command worker has engines speak segments, stores their audio, joins chapters
// and ends jobs. It needs Postgres, NATS and a bucket, and for the default pool
// of engines espeak-ng and voicemill-espeak beside it; worker --help lists its
// settings. Any number may run.
package main

import (
	"context"
	"crypto/rand"
	"os"

	"github.com/voicemill/voicemill/platform/process"
	"github.com/voicemill/voicemill/worker"
)

// Set by -ldflags "-X main.version=…".
var version = "dev"

func main() { os.Exit(run()) }

func run() int {
	var s worker.Settings
	return process.Main("worker", "Speaks segments, joins chapters and ends jobs.", &s, &s.Process,
		func(ctx context.Context, c process.Conns) error {
			return worker.Run(ctx, s.Worker, worker.Deps{
				Log: c.Log, Registry: c.Registry, Admin: c.Admin, Bus: c.Bus, DB: c.DB, Blob: c.Blob, Random: rand.Reader, Version: version,
			})
		})
}
