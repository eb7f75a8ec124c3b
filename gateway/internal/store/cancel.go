package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/platform/pg"
)

const lockNotAvailable = "55P03" // SQLSTATE: lock_timeout passed

const (
	sayArriving = "The job is just being stored; it will be cancelled. Try again shortly."
	sayBusy     = "The job is just being worked on; it will be cancelled. Try again shortly."
)

// Cancelled says what a cancel did.
type Cancelled struct {
	Early    bool  // there is no row yet: the scheduler will write it as cancelled
	Changed  bool  // the job was open and is cancelled now
	Version  int64 // after the change
	Class    job.Class
	Released bool // it may have left messages in WORK
}

// CancelJob cancels a job in one transaction: its state, its open segments, its
// due assemblies and its callback. A job that has ended stays as it is. For a
// job without a row the wish is written down, and whoever writes the row finds
// it: the two wait for each other, see LockArrival. Waits are bounded; then the
// error is Overloaded, and the wish is written down all the same: nothing more is
// planned of the job, and the scheduler cancels it.
func (s *Store) CancelJob(ctx context.Context, tenant job.Tenant, id job.ID) (Cancelled, error) {
	var c Cancelled
	err := s.call(ctx, "CancelJob", func(ctx context.Context) error {
		return pg.Tx(ctx, s.pool, func(tx pgx.Tx) error {
			c = Cancelled{}
			return s.cancel(ctx, tx, tenant, id, &c)
		})
	})
	if job.KindOf(err) == job.Overloaded {
		wished := s.call(ctx, "CancelJob", func(ctx context.Context) error {
			_, err := s.pool.Exec(ctx, s.queries.Get("CancelEarly"), id, tenant)
			return err
		})
		err = errors.Join(err, wished)
	}
	return c, err
}

func (s *Store) cancel(ctx context.Context, tx pgx.Tx, tenant job.Tenant, id job.ID, c *Cancelled) error {
	if _, err := tx.Exec(ctx, s.queries.Get("BoundRow")); err != nil {
		return err
	}
	j, err := s.lockJob(ctx, tx, tenant, id)
	if errors.Is(err, pgx.ErrNoRows) {
		j, err = s.lockArrived(ctx, tx, tenant, id)
	}
	if errors.Is(err, pgx.ErrNoRows) {
		c.Early = true
		_, err = tx.Exec(ctx, s.queries.Get("CancelEarly"), id, tenant)
		return err
	}
	if c.Class = j.class; err != nil || j.state.Final() {
		return err
	}
	if err := tx.QueryRow(ctx, s.queries.Get("DropWork"), j.num).Scan(&c.Released); err != nil {
		return err
	}
	if err := tx.QueryRow(ctx, s.queries.Get("CancelJob"), id).Scan(&c.Version); err != nil {
		return err
	}
	c.Changed = true
	return s.tell(ctx, tx, tenant, id, j.callback)
}

// lockedJob is what a cancel has to know of a job whose row it holds.
type lockedJob struct {
	num      int64
	state    job.State
	class    job.Class
	callback []byte
}

// lockArrived is lockJob once nobody stores jobs of the same bucket as id; it
// keeps everybody from that until tx ends.
func (s *Store) lockArrived(ctx context.Context, tx pgx.Tx, tenant job.Tenant, id job.ID) (j lockedJob, err error) {
	if _, err := tx.Exec(ctx, s.queries.Get("BoundWaits")); err != nil {
		return j, err
	}
	if _, err = tx.Exec(ctx, s.queries.Get("LockArrival"), id); err != nil {
		return j, busy(id, sayArriving, err)
	}
	return s.lockJob(ctx, tx, tenant, id)
}

// busy returns err, or what stands for it if a wait was over: not Unavailable,
// since the database is well, and the breaker must not open.
func busy(id job.ID, say string, err error) error {
	if pe, ok := errors.AsType[*pgconn.PgError](err); ok && pe.Code == lockNotAvailable {
		err = &job.Error{Op: "store.CancelJob", JobID: id, Kind: job.Overloaded, Public: say, Err: err}
	}
	return err
}

// lockJob locks the row of a job, if there is one that can be seen.
func (s *Store) lockJob(ctx context.Context, tx pgx.Tx, tenant job.Tenant, id job.ID) (j lockedJob, err error) {
	err = tx.QueryRow(ctx, s.queries.Get("LockJob"), id, tenant).Scan(&j.num, &j.state, &j.class, &j.callback)
	return j, busy(id, sayBusy, err)
}

// tell writes the callback of a cancelled job if its owner asked for one.
func (s *Store) tell(ctx context.Context, tx pgx.Tx, tenant job.Tenant, id job.ID, raw []byte) error {
	var callback *job.Callback
	if err := json.Unmarshal(raw, &callback); err != nil {
		return fmt.Errorf("read the callback of job %s: %w", id, err)
	}
	if !callback.Wants(job.EventCancelled) {
		return nil
	}
	delivery, err := job.NewToken("dlv_", s.random)
	if err != nil {
		return err
	}
	_, err = tx.Exec(ctx, s.queries.Get("InsertDelivery"), delivery, tenant, id, job.EventCancelled, callback.URL)
	return err
}
