package api

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/gateway/internal/shed"
	"github.com/voicemill/voicemill/job"
)

// staying is the exchange of a client that does not leave.
type staying struct {
	Exchange
	ctx context.Context //nolint:containedctx // what it stands for has one
}

func (s staying) Context() context.Context { return s.ctx }

func TestABatchWaitsForASlowIntakeButNotForEver(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		load, err := shed.New(shed.DefaultConfig())
		require.NoError(t, err)
		b := &batch{a: &API{dep: Deps{Load: load}}, c: &Call{Exchange: staying{ctx: t.Context()}}}
		load.Observe(2500*time.Millisecond, time.Now())
		for range 10 {
			require.True(t, b.unburdened(job.Bulk), "one of a few is let in, and the batch waits for it")
		}
		load.Observe(time.Minute, time.Now())
		begin := time.Now()
		require.False(t, b.unburdened(job.Bulk))
		require.InDelta(t, longestPause, time.Since(begin), float64(loadPause))
		begin = time.Now()
		for range 100 {
			require.False(t, b.unburdened(job.Bulk))
		}
		require.Zero(t, time.Since(begin), "the next lines are answered at once")
		time.Sleep(10 * time.Minute)
		require.True(t, b.unburdened(job.Bulk))
		load.Observe(time.Minute, time.Now())
		begin = time.Now()
		require.False(t, b.unburdened(job.Bulk))
		require.Positive(t, time.Since(begin), "and are waited for again when one has been taken")
	})
}
