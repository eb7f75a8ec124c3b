package engine

import (
	"context"
	"fmt"
	"sync"

	"github.com/voicemill/voicemill/job"
)

// Each is the body of Synthesize for a driver whose backend takes one request
// at a time: it runs one for every request of batch, all at once, and gathers
// the results. op names the driver in errors. calls must be what the driver's
// Close closes; one must honour its ctx and do its own waiting for capacity.
func Each(ctx context.Context, op string, calls *Calls, maxBatch int, batch []Request, one func(context.Context, *Request) Result) ([]Result, error) {
	return Whole(ctx, op, calls, maxBatch, batch, func(ctx context.Context, results []Result) {
		var wg sync.WaitGroup
		for i := range batch {
			wg.Go(func() { results[i] = one(ctx, &batch[i]) })
		}
		wg.Wait()
	})
}

// Whole is the body of Synthesize for a driver that divides a batch itself: all
// fills a result for every request of batch. The rest is as with [Each].
func Whole(ctx context.Context, op string, calls *Calls, maxBatch int, batch []Request, all func(context.Context, []Result)) ([]Result, error) {
	if len(batch) == 0 || len(batch) > maxBatch {
		return nil, &job.Error{Op: op, Kind: job.Invalid, Err: fmt.Errorf("batch of %d requests; want 1 to %d", len(batch), maxBatch)}
	}
	ctx, end, ok := calls.Begin(ctx)
	if !ok {
		return nil, CallError(op, ErrClosed)
	}
	defer end()
	results := make([]Result, len(batch))
	all(ctx, results)
	if ctx.Err() == nil {
		return results, nil
	}
	good := 0
	for i := range results {
		if results[i].Err == nil {
			good++
		} else { // the end of ctx may have caused it
			results[i].Err = CallError(op, context.Cause(ctx))
		}
	}
	if good == 0 {
		return nil, CallError(op, context.Cause(ctx))
	}
	return results, nil
}
