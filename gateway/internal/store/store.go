package store

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/voicemill/voicemill/gateway/internal/circuit"
	"github.com/voicemill/voicemill/gateway/internal/offload"
	"github.com/voicemill/voicemill/gateway/internal/stage"
	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/platform/pg"
)

//go:embed sql/*.sql
var files embed.FS

// callTimeout bounds one call; a healthy database answers within milliseconds.
const callTimeout = 5 * time.Second

var errCallTimeout = errors.New("store: the database did not answer in time")

// Store reads and writes through a pool that its creator closes. It is safe for
// concurrent use.
type Store struct {
	pool    *pg.Pool
	queries pg.Queries
	random  io.Reader
	breaker *circuit.Breaker
	heard   *heard
	gate    *offload.Gate // nil: calls do not wait for each other here
}

// New returns a Store. random feeds the ids of deliveries, keys and uploads.
func New(pool *pg.Pool, random io.Reader) (*Store, error) {
	q, err := pg.LoadQueries(files, "sql")
	if err != nil {
		return nil, fmt.Errorf("load the gateway's queries: %w", err)
	}
	return &Store{pool: pool, queries: q, random: random, breaker: circuit.New("the database", circuit.DefaultConfig()), heard: &heard{}}, nil
}

// Behind returns the same store for callers who take turns at a gate.
func (s *Store) Behind(gate *offload.Gate) *Store {
	behind := *s
	behind.gate = gate
	return &behind
}

// Check prepares every statement against the schema.
func (s *Store) Check(ctx context.Context) error { return s.queries.Check(ctx, s.pool) }

// Available returns nil while the database is believed to answer. It asks nothing.
func (s *Store) Available() error { return s.breaker.State(time.Now()) }

// Probe asks the database and closes the breaker if it answers. A refusal opens
// it at once; silence counts as that of a call does, since it may be us who are
// slow.
func (s *Store) Probe(ctx context.Context) error {
	bounded, cancel := context.WithTimeoutCause(ctx, callTimeout/2, errCallTimeout)
	defer cancel()
	var one int
	err := pg.Classify(s.pool.QueryRow(bounded, s.queries.Get("Ping")).Scan(&one))
	switch {
	case err == nil:
		s.breaker.Reset()
		s.heard.now()
	case ctx.Err() != nil: // who asked went away, which says nothing about the database
	case bounded.Err() != nil:
		s.breaker.Done(time.Now(), err)
	default:
		s.breaker.Trip(time.Now(), err)
	}
	return err
}

// enter waits for a turn at the gate.
func (s *Store) enter(ctx context.Context) error {
	leave := stage.Enter(ctx, stage.Queue)
	err := s.gate.Enter(ctx)
	leave()
	if err != nil && !errors.Is(err, offload.ErrFull) {
		return pg.Classify(err)
	}
	return err
}

// row runs the statement of that name and reads the row that it yields.
func (s *Store) row(ctx context.Context, name string, into []any, args ...any) error {
	return s.call(ctx, name, func(ctx context.Context) error {
		return s.pool.QueryRow(ctx, s.queries.Get(name), args...).Scan(into...)
	})
}

// collect runs the statement of that name and reads each row that it yields.
func collect[T any](ctx context.Context, s *Store, name string, read pgx.RowToFunc[T], args ...any) (all []T, err error) {
	err = s.call(ctx, name, func(ctx context.Context) error {
		found, err := s.pool.Query(ctx, s.queries.Get(name), args...)
		if err == nil {
			all, err = pgx.CollectRows(found, read)
		}
		return err
	})
	return all, err
}

// call runs one access behind the gate and the breaker, in bounded time. It goes on
// when its caller leaves: a statement that is broken off takes its connection along.
func (s *Store) call(ctx context.Context, op string, access func(ctx context.Context) error) error {
	if err := s.enter(ctx); err != nil {
		return err
	}
	defer s.gate.Leave()
	if err := s.breaker.Allow(time.Now()); err != nil {
		return err
	}
	err := pg.Classify(ctx.Err())
	if err == nil {
		bounded, cancel := context.WithTimeoutCause(context.WithoutCancel(ctx), callTimeout, errCallTimeout)
		defer cancel()
		err = pg.Classify(access(bounded))
		s.breaker.Done(time.Now(), err)
		if job.KindOf(err) != job.Unavailable || err == nil {
			s.heard.now()
		}
	}
	if err != nil {
		return &job.Error{Op: "store." + op, Kind: job.KindOf(err), Public: job.PublicOf(err, ""), Err: err}
	}
	return nil
}
