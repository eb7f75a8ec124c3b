package pg_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/platform/pg"
	"github.com/voicemill/voicemill/platform/testkit"
)

const leaderKey = 42

func TestOneLeaderAtATimeAndAnotherFollows(t *testing.T) {
	t.Parallel()
	pool := testkit.Postgres(t)
	var leading, terms atomic.Int64
	ended := make(chan error, 3)
	step := make(chan struct{})
	for range cap(ended) {
		go func() {
			ended <- pg.Leader(t.Context(), pool, leaderKey, func(context.Context) error {
				if leading.Add(1) > 1 {
					t.Error("two leaders at a time")
				}
				defer leading.Add(-1)
				terms.Add(1)
				<-step
				return nil
			})
		}()
	}
	for range cap(ended) {
		step <- struct{}{}
		require.NoError(t, <-ended)
	}
	require.EqualValues(t, 3, terms.Load())
}

func TestALeaderThatLosesItsConnectionStopsAndRunsAgain(t *testing.T) {
	t.Parallel()
	pool := testkit.Postgres(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	began, lost := make(chan struct{}), make(chan error)
	ended := make(chan error, 1)
	go func() {
		ended <- pg.Leader(ctx, pool, leaderKey, func(ctx context.Context) error {
			began <- struct{}{}
			<-ctx.Done()
			lost <- context.Cause(ctx)
			return ctx.Err()
		})
	}()
	<-began
	kill := `select pg_terminate_backend(pid) from pg_locks where locktype = 'advisory' and objid = $1 and database = (select oid from pg_database where datname = current_database())`
	_, err := pool.Exec(t.Context(), kill, leaderKey)
	require.NoError(t, err)
	require.ErrorIs(t, <-lost, pg.ErrLeadershipLost)
	<-began
	cancel()
	require.ErrorIs(t, <-lost, context.Canceled)
	require.NoError(t, <-ended)
}

func TestALeadersOwnErrorIsReturned(t *testing.T) {
	t.Parallel()
	broken := errors.New("broken")
	err := pg.Leader(t.Context(), testkit.Postgres(t), leaderKey, func(context.Context) error { return broken })
	require.ErrorIs(t, err, broken)
}

func TestWaitingForTheLockEndsWithItsContext(t *testing.T) {
	t.Parallel()
	pool := testkit.Postgres(t)
	began := make(chan struct{})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 2)
	go func() {
		ended <- pg.Leader(ctx, pool, leaderKey, func(ctx context.Context) error { close(began); <-ctx.Done(); return nil })
	}()
	<-began
	waiting, stop := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer stop()
	require.NoError(t, pg.Leader(waiting, pool, leaderKey, func(context.Context) error { return errors.New("a second leader") }))
	cancel()
	require.NoError(t, <-ended)
}
