package pg

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/voicemill/voicemill/platform/lifecycle"
)

// ErrLeaseLost is the cause of the context that [Lead] handed to its function
// when the lease could not be renewed in time, or another took it.
var ErrLeaseLost = errors.New("lease lost")

var errGaveWay = errors.New("not fit to lead")

const (
	leaseTTL    = 2 * time.Second        // a holder that is silent for so long is replaced
	leaseRenew  = 500 * time.Millisecond // between two renewals
	leaseMargin = 300 * time.Millisecond // so long before the end the holder stops by itself
	leaseTake   = 250 * time.Millisecond // between two tries to take it, more or less
	leaseAsk    = time.Second            // one statement about the lease
	leaseLock   = "750ms"                // what a taker waits for statements of the former holder
	leaseIdle   = 3 * time.Second        // a lease that nobody takes for so long is taken by one that is not fit, too
	leaseDoubt  = 3 * time.Second        // one that is not fit any more gives way so long after the renewal that saw it fit last,
	leaseUnfit  = 30 * time.Second       // and one that never was after so long
)

const (
	takeLease = `insert into leases as l (name, epoch, holder, until)
values ($1, 1, $2, clock_timestamp() + make_interval(secs => $3))
on conflict (name) do update
set epoch = l.epoch + 1, holder = excluded.holder, until = clock_timestamp() + make_interval(secs => $3)
where l.until <= clock_timestamp()
returning epoch`
	renewLease = `update leases set until = clock_timestamp() + make_interval(secs => $3)
where name = $1 and epoch = $2 and until > clock_timestamp()`
	dropLease = `update leases set until = clock_timestamp() where name = $1 and epoch = $2`
	// freeFor keeps those that wait from locking the row each time.
	freeFor = `select coalesce((select extract(epoch from clock_timestamp() - until)::double precision from leases where name = $1), 1e9)`
)

// Lease is what the holder writes under. Its statements go in batches of one
// round trip, which are a transaction each, and the first of each is
//
//	select hold_lease($1, $2) -- Name, Epoch
//
// It locks the lease's row FOR KEY SHARE and fails the batch when another holds
// it: a takeover waits for such a batch, and there is none of the old leader
// after it. A check without the lock would not do, since what follows might wait
// for another lock and write after the takeover. A renewal waits for no batch.
//
// A transaction of several round trips has hold_lease as its last statement: a
// leader that is stopped in the middle must not hold the row.
type Lease struct {
	Name  string
	Epoch int64
}

// IsLeaseLost reports that a batch changed nothing because another holds the lease.
func IsLeaseLost(err error) bool {
	pe, ok := errors.AsType[*pgconn.PgError](err)
	return ok && pe.Code == "VM001"
}

// Election says who may lead.
type Election struct {
	Name   string      // of the lease
	Holder string      // names this process to whoever looks
	Fit    func() bool // whether this process can do all of the work now; nil means always
	Log    *slog.Logger
}

// Lead runs fn while this process holds the lease, so that one process in the
// deployment runs it. The lease is renewed on a connection of its own; when that
// does not succeed in time, fn's context ends with cause [ErrLeaseLost], before
// another can take over by the database's clock. A process that was stopped in
// between may be busy for longer: what it writes under its [Lease] changes
// nothing. Lead waits for fn and tries again. Another takes over within
// some three seconds after a death, a hang, a pause or a partition, and at once
// after an orderly end. One that is not fit for some seconds gives the lease up,
// and takes it again only if nobody else wants it.
//
// Lead returns nil when ctx is done, and otherwise what fn returned while the
// lease was held; an error that fn returns after the loss is dropped.
func Lead(ctx context.Context, pool *Pool, e Election, fn func(context.Context, Lease) error) error {
	for ctx.Err() == nil {
		h, err := e.take(ctx, pool)
		if err != nil || h == nil {
			if !lifecycle.Sleep(ctx, leaseTake/2+rand.N(leaseTake)) {
				return nil
			}
			continue
		}
		lost, err := h.run(ctx, fn)
		h.drop(ctx)
		switch {
		case lost: // whatever fn said, it was stopped in the middle
		case ctx.Err() != nil && errors.Is(err, ctx.Err()):
			return nil
		default:
			return err
		}
	}
	return nil
}

// holder holds the lease, with the connection that renews it.
type holder struct {
	Election
	conn  *pgx.Conn
	pool  *Pool
	epoch int64
	fit   time.Time // when it was fit last, or took the lease
	doubt time.Duration
	until time.Time // by this process's monotonic clock, not later than by the database's
}

func (e Election) fit() bool { return e.Fit == nil || e.Fit() }

// take returns the holder, or nil if the lease is not for this process to take.
func (e Election) take(ctx context.Context, pool *Pool) (*holder, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	var free float64 // seconds
	if err := pool.QueryRow(ctx, freeFor, e.Name).Scan(&free); err != nil {
		return nil, err
	}
	fit, doubt := e.fit(), leaseDoubt
	if !fit {
		doubt = leaseUnfit
	}
	if free < 0 || !fit && free < leaseIdle.Seconds() {
		return nil, nil //nolint:nilnil // said above
	}
	cfg := pool.Config().ConnConfig
	maps.Copy(cfg.RuntimeParams, map[string]string{"lock_timeout": leaseLock, "synchronous_commit": "on"})
	conn, err := pgx.ConnectConfig(ctx, cfg)
	if err != nil {
		return nil, fmt.Errorf("connect for the lease: %w", err)
	}
	before := time.Now()
	h := &holder{Election: e, conn: conn, pool: pool, fit: before, doubt: doubt}
	if err := conn.QueryRow(ctx, takeLease, e.Name, e.Holder, leaseTTL.Seconds()).Scan(&h.epoch); err != nil {
		h.close(ctx)
		return nil, err // no rows: another was faster
	}
	h.until = before.Add(leaseTTL)
	e.Log.InfoContext(ctx, "lease taken", slog.String("lease", e.Name), slog.Int64("epoch", h.epoch))
	return h, nil
}

// run runs fn and renews the lease meanwhile; it returns after fn has.
func (h *holder) run(ctx context.Context, fn func(context.Context, Lease) error) (lost bool, err error) {
	led, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	done := make(chan error, 1)
	go func() { done <- fn(led, Lease{Name: h.Name, Epoch: h.epoch}) }()
	watch, stop := context.WithCancel(ctx)
	kept := make(chan error, 1)
	var keeper sync.WaitGroup
	keeper.Go(func() { kept <- h.keep(watch) })
	for {
		select {
		case err = <-done:
			stop()
			keeper.Wait()
			return lost, err
		case err := <-kept:
			if ctx.Err() == nil {
				lost = true
				h.Log.WarnContext(ctx, "lease lost", slog.String("lease", h.Name), slog.Int64("epoch", h.epoch), slog.String("error", err.Error()))
				cancel(fmt.Errorf("%w: %w", ErrLeaseLost, err))
			}
		}
	}
}

// keep renews the lease until ctx is done or that does not succeed in time. It
// returns why it ended.
func (h *holder) keep(ctx context.Context) error {
	for {
		if !lifecycle.Sleep(ctx, min(leaseRenew, time.Until(h.until)-leaseMargin)) {
			return ctx.Err()
		}
		if h.Election.fit() {
			h.fit, h.doubt = time.Now(), leaseDoubt
		} else if time.Since(h.fit) > h.doubt {
			return errGaveWay
		}
		if err := h.renew(ctx); err != nil {
			return err
		}
	}
}

// renew asks once, for as long as the lease holds: the connection is no use after a failure.
func (h *holder) renew(ctx context.Context) error {
	before := time.Now()
	ctx, cancel := context.WithDeadlineCause(ctx, h.until.Add(-leaseMargin), ErrLeaseLost)
	defer cancel()
	tag, err := h.conn.Exec(ctx, renewLease, h.Name, h.epoch, leaseTTL.Seconds())
	switch {
	case err != nil:
		return Classify(err)
	case tag.RowsAffected() == 0:
		return errors.New("another holds it")
	}
	h.until = before.Add(leaseTTL)
	return nil
}

// drop lets another take the lease at once, even when ctx is done.
func (h *holder) drop(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), leaseAsk)
	defer cancel()
	_, _ = h.pool.Exec(ctx, dropLease, h.Name, h.epoch) // else it expires by itself
	h.close(ctx)
}

func (h *holder) close(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), leaseAsk)
	defer cancel()
	_ = h.conn.Close(ctx) // the server notices either way
}
