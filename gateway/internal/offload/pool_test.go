package offload_test

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/voicemill/voicemill/gateway/internal/offload"
	"github.com/voicemill/voicemill/job"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestAFullQueueRefusesAndStoppingRunsWhatIsQueued(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p, err := offload.New(2, 3)
		require.NoError(t, err)
		ctx, cancel := context.WithCancel(t.Context())
		stopped := make(chan struct{})
		go func() { _ = p.Run(ctx); close(stopped) }()
		gate := make(chan struct{})
		var ran atomic.Int32
		task := func() { <-gate; ran.Add(1) }
		for range 2 {
			require.NoError(t, p.Go(task))
			synctest.Wait() // a worker has it
		}
		for range 3 {
			require.NoError(t, p.Go(task))
		}
		require.Equal(t, 3, p.Waiting())
		require.Equal(t, job.Overloaded, job.KindOf(p.Go(task)))
		cancel()
		synctest.Wait()
		require.Equal(t, job.Unavailable, job.KindOf(p.Go(task)))
		close(gate)
		<-stopped
		require.Equal(t, int32(5), ran.Load())
	})
}

func TestSizesAreChecked(t *testing.T) {
	t.Parallel()
	_, err := offload.New(0, 1)
	require.Error(t, err)
	_, err = offload.New(1, 0)
	require.Error(t, err)
}
