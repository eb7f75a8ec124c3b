package store

import (
	"context"

	"github.com/jackc/pgx/v5"

	"github.com/voicemill/voicemill/job"
)

// Change says that a command changed a job: what the leader knows of it is old.
type Change struct {
	Row      int64
	Recalled bool // what was out of it was taken back
	Num      int64
	Version
	State job.State
}

// Changes returns up to limit changes that the leader has not forgotten, the oldest first.
func (s *Store) Changes(ctx context.Context, limit int) ([]Change, error) {
	return collect(ctx, s, "Changes", []any{limit}, func(r pgx.CollectableRow) (c Change, err error) {
		err = r.Scan(&c.Row, &c.Recalled, &c.Num, &c.ID, &c.Version.Version, &c.State)
		return c, err
	})
}

// ForgetChanges removes changes: the leader has read the jobs anew.
func (s *Leased) ForgetChanges(ctx context.Context, list []Change) error {
	rows := make([]int64, len(list))
	for i := range list {
		rows[i] = list[i].Row
	}
	_, err := s.exec(ctx, "ForgetChanges", rows)
	return err
}
