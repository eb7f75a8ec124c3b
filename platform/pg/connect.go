package pg

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/voicemill/voicemill/platform/config"
	"github.com/voicemill/voicemill/platform/lifecycle"
)

// Pool is a pool of connections, safe for concurrent use. Whoever called
// [Connect] closes it.
type Pool = pgxpool.Pool

const (
	defaultMaxConns    = 12
	defaultConnectWait = 30 * time.Second
	dialTimeout        = 5 * time.Second
	// A transaction that waits for its client this long has lost it.
	idleInTransaction = "60s"
)

var errConnectTimeout = errors.New("database did not answer in time")

// Config says where the database is. The zero value of every field but DSN
// means its default.
type Config struct {
	DSN         config.Secret `help:"Postgres connection string: a URL or key=value pairs." placeholder:"DSN"`
	MaxConns    int32         `help:"Connections of this process at most." default:"12"`
	ConnectWait time.Duration `help:"How long a start waits for a database that is away." default:"30s"`
}

// Validate reports the first setting that makes no sense.
func (c Config) Validate() error { return config.Check("pg", c) }

var errDSN = errors.New("want a URL or key=value pairs, and files that can be read")

// Rules are what the settings must keep.
func (c Config) Rules() []config.Rule {
	var unread error
	if _, err := pgxpool.ParseConfig(c.DSN.Reveal()); err != nil {
		unread = errDSN // err may quote it
	}
	return []config.Rule{
		{Says: "`dsn` must be given", Kept: !c.DSN.IsZero()},
		config.ByFault("`dsn` must be a connection string", unread),
		{Says: "`max-conns` and `connect-wait` must not be negative", Kept: c.MaxConns >= 0 && c.ConnectWait >= 0},
	}
}

// Connect returns a pool whose database has answered once. While the database
// is away it tries again, for cfg.ConnectWait or until ctx is done; a refused
// password or an unknown database ends it at once. The caller closes the pool.
// Each error is logged when it differs from the one before.
func Connect(ctx context.Context, cfg Config, log *slog.Logger) (*Pool, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	pc, err := pgxpool.ParseConfig(cfg.DSN.Reveal())
	if err != nil {
		return nil, errDSN // as above
	}
	pc.MaxConns = defaultMaxConns
	if cfg.MaxConns > 0 {
		pc.MaxConns = cfg.MaxConns
	}
	pc.MaxConnLifetime = time.Hour
	pc.MaxConnLifetimeJitter = 10 * time.Minute
	pc.MaxConnIdleTime = 5 * time.Minute
	pc.ConnConfig.ConnectTimeout = dialTimeout
	pc.ConnConfig.Tracer = &trips{}
	setDefault(pc.ConnConfig.RuntimeParams, "application_name", "voicemill")
	setDefault(pc.ConnConfig.RuntimeParams, "idle_in_transaction_session_timeout", idleInTransaction)
	// Connections keep the plans of their statements for long. One that was made
	// while a queue was empty would read the whole of it when it is full.
	setDefault(pc.ConnConfig.RuntimeParams, "enable_seqscan", "off")
	// Such a plan counts as a very dear one, so that a server with its default
	// settings would compile each of them, for half a second of CPU.
	setDefault(pc.ConnConfig.RuntimeParams, "jit", "off")
	// A plan for the values at hand is never kept where they are few, as most are:
	// it looks cheaper than the general one, and costs more than the statement. The
	// general ones lead by keys whatever the values; see the tests of the stores.
	setDefault(pc.ConnConfig.RuntimeParams, "plan_cache_mode", "force_generic_plan")

	pool, err := pgxpool.NewWithConfig(ctx, pc)
	if err != nil {
		return nil, fmt.Errorf("pg: open the pool: %w", err)
	}
	wait := defaultConnectWait
	if cfg.ConnectWait > 0 {
		wait = cfg.ConnectWait
	}
	if err := awaitAnswer(ctx, pool, wait, log); err != nil {
		pool.Close()
		return nil, err
	}
	return pool, nil
}

func setDefault(params map[string]string, name, value string) {
	if _, ok := params[name]; !ok {
		params[name] = value
	}
}

func awaitAnswer(ctx context.Context, pool *Pool, wait time.Duration, log *slog.Logger) error {
	ctx, cancel := context.WithTimeoutCause(ctx, wait, errConnectTimeout)
	defer cancel()
	last := ""
	for pause := 50 * time.Millisecond; ; pause = min(2*pause, 2*time.Second) {
		err := pool.Ping(ctx)
		if err == nil || refusedForGood(err) {
			return Classify(err)
		}
		if ctx.Err() == nil && err.Error() != last {
			last = err.Error()
			log.WarnContext(ctx, "database does not answer yet", slog.String("error", last))
		}
		if !lifecycle.Sleep(ctx, pause) {
			return Classify(fmt.Errorf("%w: %w", context.Cause(ctx), err))
		}
	}
}

// refusedForGood reports whether another try at connecting would meet the same answer.
func refusedForGood(err error) bool {
	var pe *pgconn.PgError
	if !errors.As(err, &pe) {
		return false
	}
	switch pe.Code[:2] {
	case "28", "3D": // authorization, unknown database
		return true
	}
	return false
}
