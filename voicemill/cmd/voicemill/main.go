// Command voicemill turns text into speech in bulk. `voicemill --help` lists
// what it can do.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/voicemill/voicemill/scheduler"
	"github.com/voicemill/voicemill/voicemill/internal/cli"
	"github.com/voicemill/voicemill/voicemill/internal/cli/console"
)

// Set by -ldflags "-X main.version=…".
var version = "dev"

func main() {
	if code, child := scheduler.ServeChild(os.Args, os.Stdin, os.Stdout); child {
		os.Exit(code)
	}
	os.Exit(run())
}

func run() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	// The second Ctrl-C ends the process at once, whatever it waits for.
	context.AfterFunc(ctx, stop)
	return cli.Run(ctx, os.Args[1:], &console.Console{
		In: os.Stdin, Out: os.Stdout, Err: os.Stderr, Version: version, Getenv: os.Getenv, Environ: os.Environ(),
	})
}
