// Package migrate brings the schema up. It is apart from package pg because a service
// that waits for the schema (the gateway) need not link what applies it.
package migrate

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"

	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"

	"github.com/voicemill/voicemill/migrations"
	"github.com/voicemill/voicemill/platform/pg"
)

// lockWait bounds how long one process waits for another that migrates: a try a second.
const lockWaitSeconds = 300

// Up brings the schema up to the newest migration that this binary holds.
// Any number of processes may call it at once: one applies, the others wait for
// it (five minutes at most). A schema that is newer than the binary is left
// alone: migrations only go forward and old binaries may still run.
func Up(ctx context.Context, pool *pg.Pool, log *slog.Logger) (err error) {
	files, err := fs.Sub(migrations.FS, "sql")
	if err != nil {
		return fmt.Errorf("open the migrations: %w", err)
	}
	locker, err := lock.NewPostgresSessionLocker(lock.WithLockTimeout(1, lockWaitSeconds))
	if err != nil {
		return fmt.Errorf("prepare the migration lock: %w", err)
	}
	db := stdlib.OpenDBFromPool(pool)
	defer func() { err = errors.Join(err, db.Close()) }()
	p, err := goose.NewProvider(goose.DialectPostgres, db, files, goose.WithSessionLocker(locker), goose.WithSlog(log))
	if err != nil {
		return fmt.Errorf("read the migrations: %w", err)
	}
	results, err := p.Up(ctx)
	if err != nil {
		return fmt.Errorf("migrate: %w", pg.Classify(err))
	}
	for _, r := range results {
		log.InfoContext(ctx, "migration applied", slog.Int64("version", r.Source.Version), slog.Duration("duration", r.Duration))
	}
	return nil
}
