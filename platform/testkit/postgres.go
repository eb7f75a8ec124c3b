package testkit

import (
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/voicemill/voicemill/platform/config"
	"github.com/voicemill/voicemill/platform/embed/pgd"
	"github.com/voicemill/voicemill/platform/pg"
	"github.com/voicemill/voicemill/platform/pg/migrate"
)

const (
	templateDB  = "voicemill_template"
	startWithin = 90 * time.Second
)

// server is the one Postgres of this test process.
type server struct {
	once      sync.Once
	pgd       *pgd.Server
	admin     *pg.Pool
	dir       *tempDir
	err       error
	databases atomic.Int64
}

var shared server

// Postgres returns a pool on a database of the test's own, with the migrated
// schema and nothing in it. Pool and database go when the test ends.
func Postgres(tb testing.TB) *pg.Pool {
	tb.Helper()
	pool, err := pg.Connect(tb.Context(), pg.Config{DSN: config.NewSecret(PostgresDSN(tb))}, Log(tb))
	if err != nil {
		tb.Fatalf("connect to the test's database: %v", err)
	}
	tb.Cleanup(pool.Close)
	return pool
}

// Blocked waits until so many sessions of the database, or more, wait for a lock.
func Blocked(tb testing.TB, db *pg.Pool, sessions int) {
	tb.Helper()
	deadline := time.Now().Add(time.Minute)
	for n := 0; n < sessions; time.Sleep(time.Millisecond) {
		err := db.QueryRow(tb.Context(), `select count(*) from pg_locks join pg_stat_activity using (pid)
			where not granted and datname = current_database()`).Scan(&n)
		if err != nil || time.Now().After(deadline) {
			tb.Fatalf("%d sessions wait for a lock and not %d: %v", n, sessions, err)
		}
	}
}

// PostgresDSN is [Postgres] for a test that connects by itself.
func PostgresDSN(tb testing.TB) string {
	tb.Helper()
	return database(tb, " template "+templateDB)
}

// EmptyPostgresDSN is [PostgresDSN] with a database without the schema.
func EmptyPostgresDSN(tb testing.TB) string {
	tb.Helper()
	return database(tb, "")
}

func database(tb testing.TB, option string) string {
	tb.Helper()
	shared.once.Do(shared.start)
	if shared.err != nil {
		tb.Fatalf("start a Postgres for the tests: %v", shared.err)
	}
	name := fmt.Sprintf("t%d", shared.databases.Add(1))
	if _, err := shared.admin.Exec(tb.Context(), "create database "+name+option); err != nil {
		tb.Fatalf("create the test's database: %v", err)
	}
	tb.Cleanup(func() {
		if _, err := shared.admin.Exec(context.Background(), "drop database "+name+" with (force)"); err != nil {
			tb.Errorf("drop the test's database: %v", err)
		}
	})
	return onDatabase(shared.pgd.DSN(), name)
}

func onDatabase(dsn, name string) string {
	return strings.Replace(dsn, "dbname=voicemill ", "dbname="+name+" ", 1)
}

func (s *server) start() {
	ctx, cancel := context.WithTimeout(context.Background(), startWithin)
	defer cancel()
	log := slog.New(slog.DiscardHandler)
	if s.dir, s.err = newTempDir("pg"); s.err != nil {
		return
	}
	s.pgd, s.err = pgd.Start(ctx, pgd.Config{
		DataDir: filepath.Join(s.dir.path, "pg"), NoSync: true, MaxConnections: 200, SharedBuffersMB: 32,
	}, log)
	if s.err != nil {
		return
	}
	connect := func(db string) (*pg.Pool, error) {
		return pg.Connect(ctx, pg.Config{DSN: config.NewSecret(onDatabase(s.pgd.DSN(), db)), MaxConns: 4}, log)
	}
	if s.admin, s.err = connect("postgres"); s.err != nil {
		return
	}
	if _, s.err = s.admin.Exec(ctx, "create database "+templateDB); s.err != nil {
		return
	}
	var template *pg.Pool
	if template, s.err = connect(templateDB); s.err != nil {
		return
	}
	s.err = migrate.Up(ctx, template, log)
	template.Close()
}

// stop ends the server if a test started it.
func (s *server) stop(ctx context.Context) error {
	s.once.Do(func() {}) // nobody may start it any more
	if s.admin != nil {
		s.admin.Close()
	}
	var err error
	if s.pgd != nil {
		err = s.pgd.Stop(ctx)
	}
	if s.dir != nil {
		s.dir.remove()
	}
	return err
}

// DurablePostgres is [Postgres] on a server of the test's own that runs as in
// production, with every commit on disk: for measurements.
func DurablePostgres(tb testing.TB) *pg.Pool {
	tb.Helper()
	dir, err := newTempDir("pg")
	if err != nil {
		tb.Fatalf("make a folder: %v", err)
	}
	tb.Cleanup(dir.remove)
	s, err := pgd.Start(tb.Context(), pgd.Config{DataDir: filepath.Join(dir.path, "pg")}, slog.New(slog.DiscardHandler))
	if err != nil {
		tb.Fatalf("start a Postgres: %v", err)
	}
	tb.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), startWithin)
		defer cancel()
		if err := s.Stop(ctx); err != nil {
			tb.Errorf("stop Postgres: %v", err)
		}
	})
	pool, err := pg.Connect(tb.Context(), pg.Config{DSN: config.NewSecret(s.DSN())}, Log(tb))
	if err != nil {
		tb.Fatalf("connect to Postgres: %v", err)
	}
	tb.Cleanup(pool.Close)
	if err := migrate.Up(tb.Context(), pool, slog.New(slog.DiscardHandler)); err != nil {
		tb.Fatalf("lay out the database: %v", err)
	}
	return pool
}
