package plantest

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/platform/bus"
	"github.com/voicemill/voicemill/platform/pg"
)

// tick is how often the stand-in for the scheduler looks. Messages that were
// lost are published again every sweep ticks; a duplicate is refused by the bus.
const (
	tick  = 20 * time.Millisecond
	sweep = 25
)

// Schedule releases the segments of plans and publishes what is due until the
// test ends. Failures are ignored: the next round makes them good.
func Schedule(tb testing.TB, pool *pg.Pool, b *bus.Bus, plans ...Plan) {
	tb.Helper()
	ctx, cancel := context.WithCancel(context.WithoutCancel(tb.Context()))
	done := make(chan struct{})
	go func() {
		defer close(done)
		ticker := time.NewTicker(tick)
		defer ticker.Stop()
		for round := 1; ; round++ {
			for _, p := range plans {
				if bundles, err := Release(ctx, pool, p); err == nil {
					b.PublishWork(ctx, bundles)
				}
			}
			if due, err := Due(ctx, pool); err == nil {
				b.PublishAssembly(ctx, due)
			}
			if round%sweep == 0 {
				republish(ctx, pool, b, plans)
			}
			select {
			case <-ctx.Done():
				return
			case <-ticker.C:
			}
		}
	}()
	tb.Cleanup(func() { cancel(); <-done })
}

// republish is the scheduler's sweep: what was released and is not done.
func republish(ctx context.Context, pool *pg.Pool, b *bus.Bus, plans []Plan) {
	for _, p := range plans {
		bundles, err := Outstanding(ctx, pool, p)
		if err != nil {
			return
		}
		b.PublishWork(ctx, bundles)
	}
	due, err := assemblies(ctx, pool, `select o.job_id, o.ordinal, o.kind = 'encode', o.attempt, j.class from outbox o join jobs j on j.id = o.job_id
		where o.released_at is not null and o.parked_at is null`)
	if err == nil {
		b.PublishAssembly(ctx, due)
	}
}

// AwaitEnd waits until the job of p is final and returns its state; it fails
// the test after the time given.
func AwaitEnd(tb testing.TB, pool *pg.Pool, p Plan, within time.Duration) job.State {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.Context(), within)
	defer cancel()
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	var state job.State
	for {
		err := pool.QueryRow(ctx, `select state from jobs where id = $1`, p.ID).Scan(&state)
		if err == nil && state.Final() {
			return state
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			var progress string
			_ = pool.QueryRow(tb.Context(), `select string_agg(format('%s:%s/%s', n, state, attempt), ' ' order by n) from segments where job_id = $1`, p.ID).Scan(&progress)
			require.FailNow(tb, "the job did not end in time", "state %s, segments %s, last error %v", state, progress, err)
		}
	}
}
