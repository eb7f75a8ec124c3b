package store

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/voicemill/voicemill/platform/pg"
)

// The kinds of rows that grow old.
const (
	OldIdempotencyKeys = "DeleteIdempotencyKeys"
	OldCancellations   = "DeleteCancellations"
	OldSettled         = "DeleteSettledCancellations" // of jobs that have ended
	OldOutbox          = "DeleteFinishedOutbox"
	OldTombstones      = "DeleteTombstones"
	OldGarbage         = "DeleteGarbage" // whose object is gone
	OldReservations    = "DeleteReservations"
)

// DeleteOld deletes up to limit rows of one kind that are older than age and
// returns how many it deleted.
func (s *Leased) DeleteOld(ctx context.Context, kind string, age time.Duration, limit int) (int, error) {
	n, err := s.exec(ctx, kind, age.Seconds(), limit)
	if err != nil {
		return 0, fmt.Errorf("delete old rows (%s): %w", kind, err)
	}
	return n, nil
}

// ExpiredUpload is an upload whose time has passed.
type ExpiredUpload struct{ ID, ObjectKey string }

// ExpiredUploads returns up to limit uploads that expired longer ago than age and
// are no job's document.
func (s *Store) ExpiredUploads(ctx context.Context, age time.Duration, limit int) ([]ExpiredUpload, error) {
	rows, err := s.pool.Query(ctx, s.q.Get("ExpiredUploads"), age.Seconds(), limit)
	if err != nil {
		return nil, pg.Classify(err)
	}
	list, err := pgx.CollectRows(rows, func(r pgx.CollectableRow) (u ExpiredUpload, err error) {
		err = r.Scan(&u.ID, &u.ObjectKey)
		return u, err
	})
	return list, pg.Classify(err)
}

// DeleteUploads deletes the rows of uploads.
func (s *Leased) DeleteUploads(ctx context.Context, ids []string) error {
	_, err := s.exec(ctx, "DeleteUploads", ids)
	return err
}
