package store

import (
	"embed"
	"errors"
	"fmt"
	"io"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/platform/pg"
)

//go:embed sql/*.sql
var files embed.FS

// Store runs the scheduler's statements. It is safe for concurrent use.
type Store struct {
	pool   *pg.Pool
	q      pg.Queries
	random io.Reader // of delivery ids
}

// New returns a Store over pool, which stays the caller's to close. Delivery ids
// are made of random, which must be safe for concurrent use.
func New(pool *pg.Pool, random io.Reader) (*Store, error) {
	q, err := pg.LoadQueries(files, "sql")
	if err != nil {
		return nil, fmt.Errorf("load the scheduler's queries: %w", err)
	}
	return &Store{pool: pool, q: q, random: random}, nil
}

// AtFault reports whether err says that a row cannot be stored as it is: it
// breaks a constraint or holds what its column cannot. Any other error may pass.
func AtFault(err error) bool {
	if pe, ok := errors.AsType[*pgconn.PgError](err); ok {
		class := pe.Code[:min(2, len(pe.Code))]
		return class == "22" || class == "23" // data exception, integrity constraint violation
	}
	return err != nil && job.KindOf(err) == job.Invalid
}

// Passing reports whether the same call may succeed later: a dependency is
// away, or the database is not as it should be for a reason that is not the
// row's, such as a migration under way.
func Passing(err error) bool {
	_, fromServer := errors.AsType[*pgconn.PgError](err)
	return job.Retryable(err) || fromServer && !AtFault(err)
}

// Version is the version of a job after a change: what a hint carries.
type Version struct {
	ID      job.ID
	Version int64
}

// Notice is an event that the owner of a job asked to be told of.
type Notice struct {
	JobID  job.ID
	Tenant job.Tenant
	Event  string
	URL    string
}

// notice returns the notice of event, and whether the callback wants it.
func notice(id job.ID, tenant job.Tenant, c *job.Callback, event string) (Notice, bool) {
	if !c.Wants(event) {
		return Notice{}, false
	}
	return Notice{JobID: id, Tenant: tenant, Event: event, URL: c.URL}, true
}

// queueNotices adds the notices to a batch that changes the state they tell of.
func (s *Store) queueNotices(b *pgx.Batch, notices []Notice) error {
	for _, n := range notices {
		id, err := job.NewToken("dlv_", s.random)
		if err != nil {
			return err
		}
		b.Queue(s.q.Get("InsertDelivery"), id, n.Tenant, n.JobID, n.Event, n.URL)
	}
	return nil
}

func collectVersions(rows pgx.Rows, err error) ([]Version, error) {
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(r pgx.CollectableRow) (v Version, err error) {
		err = r.Scan(&v.ID, &v.Version)
		return v, err
	})
}

func texts[T ~string](in []T) []string {
	out := make([]string, len(in))
	for i, v := range in {
		out[i] = string(v)
	}
	return out
}
