package store

import (
	"cmp"
	"context"
	"crypto/ed25519"
	"embed"
	"fmt"
	"io"
	"slices"
	"sync/atomic"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/platform/pg"
)

//go:embed sql/*.sql
var files embed.FS

// Store reads and changes the worker's part of the database. It is safe for
// concurrent use. Every error it returns is a *job.Error: Unavailable when the
// database is away, NotFound where a row is missing.
type Store struct {
	pool   *pg.Pool
	q      pg.Queries
	random io.Reader // ids of deliveries
	signer atomic.Pointer[ed25519.PrivateKey]
}

// New returns a Store on pool, which stays the caller's to close. Ids of
// deliveries are read from random, which must be safe for concurrent use.
func New(pool *pg.Pool, random io.Reader) (*Store, error) {
	q, err := Queries()
	if err != nil {
		return nil, fmt.Errorf("load the worker's queries: %w", err)
	}
	return &Store{pool: pool, q: q, random: random}, nil
}

// SigningKey returns the key that manifests are signed with; it is read once.
func (s *Store) SigningKey(ctx context.Context) (ed25519.PrivateKey, error) {
	if key := s.signer.Load(); key != nil {
		return *key, nil
	}
	key, err := pg.SigningKey(ctx, s.pool)
	if err != nil {
		return nil, fmt.Errorf("read the signing key: %w", err)
	}
	s.signer.Store(&key)
	return key, nil
}

// Queries returns the worker's statements.
func Queries() (pg.Queries, error) { return pg.LoadQueries(files, "sql") }

// tx runs fn in one transaction; see [pg.Tx] for what is retried.
func (s *Store) tx(ctx context.Context, fn func(pgx.Tx) error) error {
	return pg.Tx(ctx, s.pool, fn)
}

// exec runs a named statement and reports how many rows it changed.
func (s *Store) exec(ctx context.Context, tx pgx.Tx, name string, args ...any) (int64, error) {
	tag, err := tx.Exec(ctx, s.q.Get(name), args...)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", name, err)
	}
	return tag.RowsAffected(), nil
}

// collect runs a named query and reads every row with scan.
func collect[T any](ctx context.Context, s *Store, name string, scan pgx.RowToFunc[T], args ...any) ([]T, error) {
	rows, err := s.pool.Query(ctx, s.q.Get(name), args...)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, pg.Classify(err))
	}
	out, err := pgx.CollectRows(rows, scan)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, pg.Classify(err))
	}
	return out, nil
}

// Voice is one voice of a pool, as the gateway offers it and the scheduler
// finds its pool.
type Voice struct {
	Name       string
	Pool       string
	Language   string // BCP 47
	Engine     string // software and version: part of every rendition's key
	SampleRate int    // Hz
	Default    bool   // wishes to be the default of its language; who came first stays it

	Licence     string // empty if nothing is known
	Attribution string

	Instructions bool // it takes them
}

// PutVoices makes voices known; those known already are updated. If one of them is
// another pool's, which has a worker, the error is of kind Conflict and names it, and
// none is changed.
func (s *Store) PutVoices(ctx context.Context, voices []Voice) error {
	return s.tx(ctx, func(tx pgx.Tx) error {
		if _, err := s.exec(ctx, tx, "LockVoices"); err != nil {
			return err
		}
		// Those that are no default any more make room for those that are.
		ordered := slices.Clone(voices)
		slices.SortStableFunc(ordered, func(a, b Voice) int { return cmp.Compare(rank(a), rank(b)) })
		var batch pgx.Batch // they all lock out the other workers' meanwhile
		var first *Voice    // that is another's
		for _, v := range ordered {
			batch.Queue(s.q.Get("PutVoice"), v.Name, v.Pool, v.Language, v.Engine, v.SampleRate, v.Default, v.Licence, v.Attribution, v.Instructions).Exec(func(tag pgconn.CommandTag) error {
				if tag.RowsAffected() == 0 && first == nil {
					first = &v
				}
				return nil
			})
		}
		if err := tx.SendBatch(ctx, &batch).Close(); err != nil {
			return fmt.Errorf("PutVoice: %w", err)
		}
		if first != nil {
			return s.taken(ctx, tx, *first)
		}
		return nil
	})
}

// rank puts defaults last.
func rank(v Voice) int {
	if v.Default {
		return 1
	}
	return 0
}

// taken says whose v is.
func (s *Store) taken(ctx context.Context, tx pgx.Tx, v Voice) error {
	var pool string
	if err := tx.QueryRow(ctx, s.q.Get("PoolOfVoice"), v.Name).Scan(&pool); err != nil {
		return fmt.Errorf("PoolOfVoice: %w", err)
	}
	return &job.Error{Op: "store.PutVoices", Kind: job.Conflict, Err: fmt.Errorf(
		"the voice %q of pool %q is pool %q's, which has a worker: name one of them differently, or end the workers of %q and wait for 30 s", v.Name, v.Pool, pool, pool)}
}

// VoiceOfJob is a voice that a job was planned with.
type VoiceOfJob struct{ Name, Engine, Licence, Attribution string }

// VoicesOfJob returns the voices of the job that the database calls num, by name.
func (s *Store) VoicesOfJob(ctx context.Context, num int64) ([]VoiceOfJob, error) {
	return collect(ctx, s, "VoicesOfJob", func(row pgx.CollectableRow) (v VoiceOfJob, err error) {
		return v, row.Scan(&v.Name, &v.Engine, &v.Licence, &v.Attribution)
	}, num)
}
