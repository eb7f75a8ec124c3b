package pg

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"time"

	"github.com/jackc/pgx/v5"
)

const (
	leaderPoll    = time.Second     // between tries for the lock, and between proofs that it is still ours
	leaderTimeout = 2 * time.Second // for one try or proof
)

// ErrLeadershipLost is the cause of the context that [Leader] handed to fn
// when the connection that held the lock was lost.
var ErrLeadershipLost = errors.New("leadership lost")

// Leader runs fn while this process holds the advisory lock key, so that at
// most one process in the deployment runs it. It waits for the lock as long as
// another holds it or the database is away. The lock belongs to a connection of
// its own, which is asked for a sign of life every second; when that fails,
// fn's context ends with cause [ErrLeadershipLost] and, after fn has returned,
// Leader waits for the lock again. A former leader may still be busy for up to
// three seconds after another took over, so fn's writes need fences of their own.
//
// Leader returns nil when ctx is done, and otherwise what fn returned while the
// lock was held; an error that fn returns after the loss is dropped. The connection must be a session of its own: it does not work
// through a pooler in transaction mode.
func Leader(ctx context.Context, pool *Pool, key int64, fn func(context.Context) error) error {
	for ctx.Err() == nil {
		conn, pid, err := takeLock(ctx, pool, key)
		if err != nil || conn == nil {
			if waitOr(ctx, leaderPoll/2+rand.N(leaderPoll)) != nil {
				return nil //nolint:nilerr // ctx is done: the caller asked to stop
			}
			continue
		}
		lost, err := lead(ctx, conn, pid, fn)
		closeConn(ctx, conn)
		switch {
		case lost: // whatever fn said, it was stopped in the middle
		case ctx.Err() != nil && errors.Is(err, ctx.Err()):
			return nil
		default:
			return err
		}
	}
	return nil
}

// takeLock returns the connection that holds the lock and its server process, or nil if another has it.
func takeLock(ctx context.Context, pool *Pool, key int64) (*pgx.Conn, int64, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	cfg := pool.Config().ConnConfig
	// A leader whose machine vanished must not keep the lock for hours.
	maps.Copy(cfg.RuntimeParams, map[string]string{"tcp_keepalives_idle": "5", "tcp_keepalives_interval": "2", "tcp_keepalives_count": "3"})
	conn, err := pgx.ConnectConfig(ctx, cfg)
	if err != nil {
		return nil, 0, fmt.Errorf("connect for the leader's lock: %w", err)
	}
	var got bool
	var pid int64
	err = conn.QueryRow(ctx, `select pg_try_advisory_lock($1), pg_backend_pid()`, key).Scan(&got, &pid)
	if err != nil || !got {
		closeConn(ctx, conn)
		return nil, 0, err
	}
	return conn, pid, nil
}

// lead runs fn and watches the lock meanwhile; it returns after fn has.
func lead(ctx context.Context, conn *pgx.Conn, pid int64, fn func(context.Context) error) (lost bool, err error) {
	led, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	done := make(chan error, 1)
	go func() { done <- fn(led) }()

	tick := time.NewTicker(leaderPoll)
	defer tick.Stop()
	for {
		select {
		case err := <-done:
			return lost, err
		case <-tick.C:
			if !lost && !stillOurs(ctx, conn, pid) && ctx.Err() == nil {
				lost = true
				cancel(ErrLeadershipLost)
			}
		}
	}
}

func stillOurs(ctx context.Context, conn *pgx.Conn, pid int64) bool {
	ctx, cancel := context.WithTimeout(ctx, leaderTimeout)
	defer cancel()
	var now int64
	return conn.QueryRow(ctx, `select pg_backend_pid()`).Scan(&now) == nil && now == pid
}

// closeConn ends the session, which frees the lock, even when ctx is done.
func closeConn(ctx context.Context, conn *pgx.Conn) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), leaderTimeout)
	defer cancel()
	_ = conn.Close(ctx) // the server notices either way
}

func waitOr(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
