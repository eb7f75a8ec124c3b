package offload_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/voicemill/voicemill/gateway/internal/offload"
	"github.com/voicemill/voicemill/job"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestAFullPoolRefusesAndStoppingWaitsForWhatRuns(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p, err := offload.NewPool(3)
		require.NoError(t, err)
		ctx, cancel := context.WithCancel(t.Context())
		stopped := make(chan struct{})
		go func() { _ = p.Run(ctx); close(stopped) }()
		hold := make(chan struct{})
		var ran atomic.Int32
		for range 3 {
			require.NoError(t, p.Go(func() { <-hold; ran.Add(1) }))
		}
		refused := p.Go(func() {})
		require.Equal(t, job.Overloaded, job.KindOf(refused))
		require.ErrorIs(t, refused, offload.ErrFull)
		cancel()
		synctest.Wait()
		require.Equal(t, job.Unavailable, job.KindOf(p.Go(func() {})))
		select {
		case <-stopped:
			t.Fatal("stopped before its tasks")
		default:
		}
		close(hold)
		<-stopped
		require.Equal(t, int32(3), ran.Load())
	})
}

func TestAPoolHasRoomAgainWhenATaskIsOver(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p, err := offload.NewPool(1)
		require.NoError(t, err)
		for range 10 {
			require.NoError(t, p.Go(func() {}))
			synctest.Wait()
		}
	})
}

func TestAGateLetsThroughInOrder(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g, err := offload.NewGate(1, 3)
		require.NoError(t, err)
		require.NoError(t, g.Enter(t.Context()))
		passed := make(chan int, 3)
		for i := range 3 {
			go func() {
				if g.Enter(t.Context()) == nil {
					passed <- i
					g.Leave()
				}
			}()
			synctest.Wait()
		}
		require.Equal(t, 3, g.Waiting())
		require.ErrorIs(t, g.Enter(t.Context()), offload.ErrFull)
		g.Leave()
		for i := range 3 {
			require.Equal(t, i, <-passed)
		}
		require.Zero(t, g.Waiting())
	})
}

func TestWhoLeavesTheQueueOfAGateTakesNoPlace(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g, err := offload.NewGate(1, 1)
		require.NoError(t, err)
		require.NoError(t, g.Enter(t.Context()))
		gone := errors.New("gone")
		ctx, cancel := context.WithCancelCause(t.Context())
		left := make(chan error, 1)
		go func() { left <- g.Enter(ctx) }()
		synctest.Wait()
		cancel(gone)
		require.ErrorIs(t, <-left, gone)
		require.Zero(t, g.Waiting())
		g.Leave()
		require.NoError(t, g.Enter(t.Context()))
	})
}

func TestSizesAreChecked(t *testing.T) {
	t.Parallel()
	_, err := offload.NewPool(0)
	require.Error(t, err)
	_, err = offload.NewGate(0, 1)
	require.Error(t, err)
	_, err = offload.NewGate(1, 0)
	require.Error(t, err)
}
