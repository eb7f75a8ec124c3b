// Command voicemill-espeak is the helper process in which a worker runs the
// espeak-ng library. The worker starts it, speaks to it over standard input and
// output, and replaces it when it fails; it is of no use on its own.
package main

import (
	"context"
	"flag"
	"io"
	"os"

	"github.com/voicemill/voicemill/worker/internal/engine/espeak/ask"
	"github.com/voicemill/voicemill/worker/internal/engine/espeak/libespeak"
	"github.com/voicemill/voicemill/worker/internal/engine/helper/serve"
)

func main() {
	var cfg libespeak.Config
	flag.StringVar(&cfg.Library, "library", "", "file name or path of the espeak-ng library")
	flag.StringVar(&cfg.DataPath, "data", "", "folder that holds espeak-ng-data")
	flag.IntVar(&cfg.MaxSeconds, "max-seconds", 0, "longest audio for one request")
	flag.Parse()
	os.Exit(serve.Main(func(ctx context.Context, in *serve.Input[ask.Request], out io.Writer) error {
		return libespeak.Serve(ctx, cfg, in, out)
	}))
}
