package offload_test

import (
	"context"
	"errors"
	"runtime"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

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
		p := runPool(t, 1)
		for range 10 {
			require.NoError(t, p.Go(func() {}))
			synctest.Wait()
		}
	})
}

// A wave of tasks, and another: each task of both runs once, however many goroutines
// rest between them, and none stays when the pool ends, which synctest sees to.
func TestEachTaskOfAWaveRunsOnce(t *testing.T) {
	t.Parallel()
	const many = 1000
	synctest.Test(t, func(t *testing.T) {
		p := runPool(t, many)
		var runs [many]atomic.Int32
		for wave := range int32(3) {
			hold := make(chan struct{})
			for i := range runs {
				require.NoError(t, p.Go(func() { <-hold; runs[i].Add(1) }))
			}
			require.Error(t, p.Go(func() {}))
			close(hold)
			synctest.Wait()
			for i := range runs {
				require.Equal(t, wave+1, runs[i].Load())
			}
		}
	})
}

func TestATaskThatEndsItsGoroutineTakesNoPlace(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := runPool(t, 1)
		ran := false
		for _, task := range []func(){func() {}, runtime.Goexit, func() { ran = true }} {
			require.NoError(t, p.Go(task))
			synctest.Wait()
		}
		require.True(t, ran)
	})
}

func TestWhoRestsLeavesInTheEnd(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p, err := offload.NewPool(100) // nobody ends it
		require.NoError(t, err)
		var ran atomic.Int32
		for range 100 {
			for range 100 {
				require.NoError(t, p.Go(func() { ran.Add(1) }))
			}
			time.Sleep(time.Second) // at which some leave while they are asked
		}
		require.Equal(t, int32(10_000), ran.Load())
		time.Sleep(time.Minute) // synctest sees to it that no goroutine is left
	})
}

func runPool(t *testing.T, most int) *offload.Pool {
	t.Helper()
	p, err := offload.NewPool(most)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	go func() { _ = p.Run(ctx) }()
	return p
}

// BenchmarkGo is a task whose stack has to be large.
func BenchmarkGo(b *testing.B) {
	p, err := offload.NewPool(8)
	require.NoError(b, err)
	ctx, cancel := context.WithCancel(b.Context())
	ended := make(chan struct{})
	go func() { _ = p.Run(ctx); close(ended) }()
	over := make(chan byte)
	for b.Loop() {
		require.NoError(b, p.Go(func() { over <- deep(40) }))
		<-over
	}
	cancel()
	<-ended
}

//go:noinline
func deep(n int) byte {
	var frame [200]byte
	if n > 0 {
		frame[n] = deep(n - 1)
	}
	return frame[n]
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
