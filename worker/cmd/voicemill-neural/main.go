// Command voicemill-neural is the helper process in which a worker runs a neural
// voice: sherpa-onnx's library and, for the phonemes, espeak-ng's. The worker starts
// it, speaks to it over standard input and output, and replaces it when it fails; it
// is of no use on its own.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"

	"github.com/voicemill/voicemill/worker/internal/engine/helper/serve"
	"github.com/voicemill/voicemill/worker/internal/engine/neural/ask"
	"github.com/voicemill/voicemill/worker/internal/engine/neural/libsherpa"
)

func main() { os.Exit(run()) }

func run() int {
	var model ask.Model
	flag.Func("model", "what to load, as JSON", func(text string) error { return json.Unmarshal([]byte(text), &model) })
	flag.Parse()
	if model.Family == "" {
		fmt.Fprintln(os.Stderr, "voicemill-neural: -model is needed; a worker gives it")
		return 2
	}
	return serve.Main(func(ctx context.Context, in *serve.Input[ask.Request], out io.Writer) error {
		return libsherpa.Serve(ctx, model, in, out)
	})
}
