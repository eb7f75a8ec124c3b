package store

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"

	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/platform/pg"
)

// DeletedJob says what a deletion did.
type DeletedJob struct {
	Early    bool // there was no row yet: the scheduler will write none
	Released bool // it was open and may have left messages in WORK
}

// DeleteJob deletes a job in one transaction: its rows and its text; its files and
// its document go a little later. What it shares with other jobs stays: the
// renditions. A job that is open ends by it, and nobody is called back. Deleting
// twice is deleting once; NotFound if the tenant has deleted it before.
func (s *Store) DeleteJob(ctx context.Context, tenant job.Tenant, id job.ID) (DeletedJob, error) {
	var d DeletedJob
	err := s.call(ctx, "DeleteJob", func(ctx context.Context) error {
		return pg.Tx(ctx, s.pool, func(tx pgx.Tx) error {
			d = DeletedJob{}
			return s.deleteJob(ctx, tx, tenant, id, &d)
		})
	})
	return d, err
}

func (s *Store) deleteJob(ctx context.Context, tx pgx.Tx, tenant job.Tenant, id job.ID, d *DeletedJob) error {
	j, err := s.lockJob(ctx, tx, tenant, id)
	if errors.Is(err, pgx.ErrNoRows) {
		j, err = s.lockArrived(ctx, tx, tenant, id)
	}
	if errors.Is(err, pgx.ErrNoRows) {
		return s.deleteEarly(ctx, tx, tenant, id, d)
	}
	if err != nil {
		return err
	}
	if !j.state.Final() {
		if err := tx.QueryRow(ctx, s.queries.Get("DropWork"), j.num).Scan(&d.Released); err != nil {
			return err
		}
	}
	_, err = tx.Exec(ctx, s.queries.Get("ForgetJob"), j.num)
	return err
}

// deleteEarly leaves word for whoever writes the row.
func (s *Store) deleteEarly(ctx context.Context, tx pgx.Tx, tenant job.Tenant, id job.ID, d *DeletedJob) error {
	var before bool
	if err := tx.QueryRow(ctx, s.queries.Get("WasDeleted"), id).Scan(&before); err != nil {
		return err
	}
	if before {
		return &job.Error{Op: "store.DeleteJob", JobID: id, Kind: job.NotFound}
	}
	d.Early = true
	_, err := tx.Exec(ctx, s.queries.Get("DeleteEarly"), id, tenant)
	return err
}
