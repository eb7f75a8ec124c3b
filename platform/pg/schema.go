package pg

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"time"

	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/migrations"
	"github.com/voicemill/voicemill/platform/lifecycle"
)

const (
	schemaWait  = 60 * time.Second
	schemaPause = 100 * time.Millisecond
)

var errSchemaTimeout = errors.New("nobody has brought the schema up; start a scheduler or a worker, or run voicemill init")

// AwaitSchema waits, a minute at most, until another process has brought the schema
// up to the newest migration that this binary holds: services that start together
// on an empty database do not start in order.
func AwaitSchema(ctx context.Context, pool *Pool, log *slog.Logger) error {
	want, err := newest()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, schemaWait, errSchemaTimeout)
	defer cancel()
	for said := false; ; said = true {
		var have int64
		err := pool.QueryRow(ctx, `select coalesce(max(version_id), 0) from goose_db_version where is_applied`).Scan(&have)
		if err == nil && have >= want {
			return nil
		}
		if !said {
			log.WarnContext(ctx, "the schema is waited for", slog.Int64("version", have), slog.Int64("wanted", want))
		}
		if !lifecycle.Sleep(ctx, schemaPause) {
			return &job.Error{Op: "pg.AwaitSchema", Kind: job.Unavailable, Public: sayAway, Err: fmt.Errorf("%w: version %d, wanted %d", context.Cause(ctx), have, want)}
		}
	}
}

// newest is the version of the newest migration.
func newest() (version int64, err error) {
	names, err := fs.Glob(migrations.FS, "sql/*.sql")
	if err != nil {
		return 0, fmt.Errorf("list the migrations: %w", err)
	}
	for _, name := range names {
		var n int64
		if _, err := fmt.Sscanf(name, "sql/%d_", &n); err != nil {
			return 0, fmt.Errorf("bug: migration %s has no number: %w", name, err)
		}
		version = max(version, n)
	}
	return version, nil
}
