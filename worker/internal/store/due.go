package store

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/platform/pg"
)

// What the outbox notes as due.
const (
	dueJoin   = "assemble"
	dueEnd    = "finish"
	dueEncode = "encode"
)

// Due names what is due for a chapter, or with ordinal 0 for the job, under one release.
type Due struct {
	JobID   job.ID
	Ordinal int
	Encode  bool // its encoding, not its join or its end
	Attempt int  // 0: not released yet
}

func (d Due) kind() string {
	switch {
	case d.Encode:
		return dueEncode
	case d.Ordinal == 0:
		return dueEnd
	}
	return dueJoin
}

// BeginDue notes that a delivery of d begins, and returns how many began so far;
// ok is false if d is not due any more, or was released again. Again is set if
// the message was delivered before.
func (s *Store) BeginDue(ctx context.Context, d Due, again bool) (started int, ok bool, err error) {
	err = s.pool.QueryRow(ctx, s.q.Get("BeginDue"), d.kind(), d.JobID, d.Ordinal, d.Attempt, again).Scan(&started)
	if errors.Is(err, pgx.ErrNoRows) {
		return 0, false, nil
	}
	if err != nil {
		return 0, false, fmt.Errorf("begin %s/%d: %w", d.JobID, d.Ordinal, pg.Classify(err))
	}
	return started, true, nil
}

// ReturnDue takes BeginDue back.
func (s *Store) ReturnDue(ctx context.Context, d Due) error {
	if _, err := s.pool.Exec(ctx, s.q.Get("ReturnDue"), d.kind(), d.JobID, d.Ordinal, d.Attempt); err != nil {
		return fmt.Errorf("return %s/%d: %w", d.JobID, d.Ordinal, pg.Classify(err))
	}
	return nil
}

// Postponement says when something is due again, and why.
type Postponement struct {
	Delay   time.Duration
	Charged bool // the try counts
	Kind    job.Kind
	Detail  string
}

// PostponeDue makes d due again later.
func (s *Store) PostponeDue(ctx context.Context, d Due, p Postponement) error {
	free := 1
	if p.Charged {
		free = 0
	}
	_, err := s.pool.Exec(ctx, s.q.Get("PostponeDue"), d.kind(), d.JobID, d.Ordinal, d.Attempt, p.Delay.Seconds(), free, p.Kind.String(), p.Detail)
	if err != nil {
		return fmt.Errorf("postpone %s/%d: %w", d.JobID, d.Ordinal, pg.Classify(err))
	}
	return nil
}
