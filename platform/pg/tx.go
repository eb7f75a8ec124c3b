package pg

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/voicemill/voicemill/platform/lifecycle"
)

// txTries bounds how often one transaction is tried. Deadlocks are excluded by
// the locking rule, so a second try nearly always goes through.
const txTries = 5

// Tx runs fn in a transaction and commits it; an error of fn rolls it back and
// is returned. If the database rolled the transaction back by itself
// (serialization failure, deadlock), or the connection turned out dead before
// anything was sent, fn runs again in a new transaction, up to five times: fn
// must have no effect outside the transaction. A connection that is lost later,
// the commit included, is not retried: the outcome is unknown and the error is
// Unavailable. Every error has gone through [Classify].
func Tx(ctx context.Context, pool *Pool, fn func(pgx.Tx) error) error {
	return retried(ctx, func() error { return pgx.BeginFunc(ctx, pool, fn) })
}

// Batch runs the statements that queue adds as one transaction of a single round
// trip, which saves those of its beginning and its end. Each statement says for
// itself what it depends on of those before. What is retried is as with [Tx]; queue,
// and what it has called with results, may run again and must have no other effect.
func Batch(ctx context.Context, pool *Pool, queue func(*pgx.Batch) error) error {
	return retried(ctx, func() error {
		var b pgx.Batch
		if err := queue(&b); err != nil {
			return err
		}
		return pool.SendBatch(ctx, &b).Close()
	})
}

func retried(ctx context.Context, run func() error) error {
	var err error
	for try := range txTries {
		if try > 0 {
			pause := rand.N(time.Duration(try) * 10 * time.Millisecond) // longer with each try and never the same for two
			if !lifecycle.Sleep(ctx, pause) {
				return Classify(errors.Join(context.Cause(ctx), err))
			}
		}
		err = run()
		if err == nil || !retrySafely(err) || ctx.Err() != nil {
			break
		}
	}
	return Classify(err)
}

func retrySafely(err error) bool {
	if pe, ok := errors.AsType[*pgconn.PgError](err); ok {
		return pe.Code == "40001" || pe.Code == "40P01"
	}
	return pgconn.SafeToRetry(err)
}
