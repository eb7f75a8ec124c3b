package pg

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
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
	var err error
	for try := range txTries {
		if try > 0 {
			if stop := pauseBefore(ctx, try); stop != nil {
				return Classify(errors.Join(stop, err))
			}
		}
		err = pgx.BeginFunc(ctx, pool, fn)
		if err == nil || !retrySafely(err) || ctx.Err() != nil {
			break
		}
	}
	return Classify(err)
}

// pauseBefore waits a little, longer with each try and never the same for two.
func pauseBefore(ctx context.Context, try int) error {
	timer := time.NewTimer(rand.N(time.Duration(try) * 10 * time.Millisecond))
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func retrySafely(err error) bool {
	if pe, ok := errors.AsType[*pgconn.PgError](err); ok {
		return pe.Code == "40001" || pe.Code == "40P01"
	}
	return pgconn.SafeToRetry(err)
}
