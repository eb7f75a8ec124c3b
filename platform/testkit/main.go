package testkit

import (
	"context"
	"errors"
	"fmt"
	"os"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// stopWithin bounds the stop of the shared programs.
const stopWithin = 30 * time.Second

// Main runs the tests of a package, stops the shared programs and fails if a
// goroutine is left behind. It does not return. ignore adds to what goleak
// looks past.
func Main(m *testing.M, ignore ...goleak.Option) {
	code := m.Run()
	ctx, cancel := context.WithTimeout(context.Background(), stopWithin)
	err := errors.Join(shared.stop(ctx), sharedS3.stop(ctx))
	cancel()
	if err == nil && code == 0 {
		err = goleak.Find(append(ignore, knownGoroutines()...)...)
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "testkit: %v\n", err)
		code = max(code, 1)
	}
	os.Exit(code)
}

// knownGoroutines are those that the S3 server's HTTP library never ends, or
// ends ten seconds late.
func knownGoroutines() []goleak.Option {
	return []goleak.Option{
		goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.updateServerDate.func1"),
		goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.(*workerPool).Start.func2"),
	}
}
