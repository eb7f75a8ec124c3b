package operation

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/gateway/internal/shed"
	"github.com/voicemill/voicemill/job"
)

func TestABatchWaitsForASlowIntakeButNotForEver(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		load, err := shed.New(shed.DefaultConfig())
		require.NoError(t, err)
		b := &Batch{o: &Operations{dep: Deps{Load: load}}, flush: func() error { return nil }}
		load.Observe(2500*time.Millisecond, time.Now())
		for range 10 {
			require.True(t, b.unburdened(t.Context(), job.Bulk), "one of a few is let in, and the batch waits for it")
		}
		load.Observe(time.Minute, time.Now())
		begin := time.Now()
		require.False(t, b.unburdened(t.Context(), job.Bulk))
		require.InDelta(t, longestPause, time.Since(begin), float64(loadPause))
		begin = time.Now()
		for range 100 {
			require.False(t, b.unburdened(t.Context(), job.Bulk))
		}
		require.Zero(t, time.Since(begin), "the next lines are answered at once")
		time.Sleep(10 * time.Minute)
		require.True(t, b.unburdened(t.Context(), job.Bulk))
		load.Observe(time.Minute, time.Now())
		begin = time.Now()
		require.False(t, b.unburdened(t.Context(), job.Bulk))
		require.Positive(t, time.Since(begin), "and are waited for again when one has been taken")
	})
}
