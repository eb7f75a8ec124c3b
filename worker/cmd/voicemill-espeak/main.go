// Command voicemill-espeak is the helper process in which a worker runs the
// espeak-ng library. The worker starts it, speaks to it over standard input and
// output, and replaces it when it fails; it is of no use on its own.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"

	"github.com/voicemill/voicemill/worker/internal/engine/espeak/libespeak"
)

func main() { os.Exit(run()) }

func run() int {
	var cfg libespeak.Config
	flag.StringVar(&cfg.Library, "library", "", "file name or path of the espeak-ng library")
	flag.StringVar(&cfg.DataPath, "data", "", "folder that holds espeak-ng-data")
	flag.IntVar(&cfg.MaxSeconds, "max-seconds", 0, "longest audio for one request")
	flag.Parse()

	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	in := libespeak.NewInput()
	go in.Read(ctx, os.Stdin) // ends with the process; a blocked read cannot be called back

	served := make(chan error, 1)
	go func() { served <- libespeak.Serve(ctx, cfg, in, os.Stdout) }()
	var err error
	select {
	case err = <-served:
	case <-in.Ended(): // the worker is gone or done with us; a text in progress is of no use
		err = in.Err()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}
