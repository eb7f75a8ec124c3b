package pg_test

import (
	"context"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/platform/pg"
	"github.com/voicemill/voicemill/platform/testkit"
)

// takeover is what the specification allows.
const takeover = 5 * time.Second

func election(t *testing.T, holder string) pg.Election {
	t.Helper()
	return pg.Election{Name: "test", Holder: holder, Log: testkit.Log(t)}
}

// term is one time of holding the lease.
type term struct {
	pg.Lease
	over chan error // gets the cause when the term is over
}

// lead runs for the lease until the test ends; every term comes over the channel.
func lead(t *testing.T, pool *pg.Pool, e pg.Election) <-chan term {
	t.Helper()
	terms := make(chan term)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		done <- pg.Lead(ctx, pool, e, func(led context.Context, l pg.Lease) error {
			now := term{Lease: l, over: make(chan error, 1)}
			select {
			case terms <- now:
				<-led.Done()
			case <-led.Done():
			}
			now.over <- context.Cause(led)
			return led.Err()
		})
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Lead: %v", err)
		}
	})
	return terms
}

func next(t *testing.T, terms <-chan term) term {
	t.Helper()
	select {
	case now := <-terms:
		return now
	case <-time.After(30 * time.Second):
		t.Fatal("nobody took the lease")
		return term{}
	}
}

// leased changes the weight of a tenant under a lease.
func leased(ctx context.Context, pool *pg.Pool, l pg.Lease, weight float64) error {
	var b pgx.Batch
	b.Queue(`select hold_lease($1, $2)`, l.Name, l.Epoch)
	b.Queue(`update tenants set weight = $1 where id = 'a'`, weight)
	return pool.SendBatch(ctx, &b).Close()
}

func weight(t *testing.T, pool *pg.Pool) (w float64) {
	t.Helper()
	require.NoError(t, pool.QueryRow(t.Context(), `select weight from tenants where id = 'a'`).Scan(&w))
	return w
}

func TestOneLeadsAtATimeAndAnotherFollowsAtOnce(t *testing.T) {
	t.Parallel()
	pool := testkit.Postgres(t)
	var leading, terms atomic.Int64
	ended := make(chan error, 3)
	step := make(chan struct{})
	for range cap(ended) {
		go func() {
			ended <- pg.Lead(t.Context(), pool, election(t, "x"), func(_ context.Context, l pg.Lease) error {
				if leading.Add(1) > 1 {
					t.Error("two leaders at a time")
				}
				defer leading.Add(-1)
				if terms.Add(1) != l.Epoch {
					t.Error("the epoch does not count the terms")
				}
				<-step
				return nil
			})
		}()
	}
	for range cap(ended) {
		step <- struct{}{}
		require.NoError(t, <-ended)
	}
	require.EqualValues(t, 3, terms.Load())
}

func TestALeadersOwnErrorIsReturned(t *testing.T) {
	t.Parallel()
	broken := errors.New("broken")
	err := pg.Lead(t.Context(), testkit.Postgres(t), election(t, "x"), func(context.Context, pg.Lease) error { return broken })
	require.ErrorIs(t, err, broken)
}

func TestWaitingForTheLeaseEndsWithItsContext(t *testing.T) {
	t.Parallel()
	pool := testkit.Postgres(t)
	next(t, lead(t, pool, election(t, "first")))
	waiting, stop := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer stop()
	second := func(context.Context, pg.Lease) error { return errors.New("a second leader") }
	require.NoError(t, pg.Lead(waiting, pool, election(t, "second"), second))
}

func TestALeaderThatIsCutOffIsReplacedAndWritesNoMore(t *testing.T) {
	t.Parallel()
	pool := testkit.Postgres(t)
	_, err := pool.Exec(t.Context(), `insert into tenants (id, callback_secret) values ('a', 'whsec_x')`)
	require.NoError(t, err)
	far, cut := proxied(t, pool)
	old := next(t, lead(t, far, election(t, "far")))
	require.NoError(t, leased(t.Context(), far, old.Lease, 2))
	require.InDelta(t, 2, weight(t, pool), 0)

	cut.freeze()
	begin := time.Now()
	now := next(t, lead(t, pool, election(t, "near")))
	require.Less(t, time.Since(begin), takeover)
	require.Equal(t, old.Epoch+1, now.Epoch)
	select {
	case err := <-old.over:
		require.ErrorIs(t, err, pg.ErrLeaseLost)
	default:
		t.Error("another leads and the old leader does not know yet")
	}
	cut.thaw()
	require.True(t, pg.IsLeaseLost(leased(t.Context(), pool, old.Lease, 3)))
	require.InDelta(t, 2, weight(t, pool), 0, "a stale holder's write changes nothing")
	require.NoError(t, leased(t.Context(), pool, now.Lease, 4))
	require.InDelta(t, 4, weight(t, pool), 0)
}

func TestATakeoverWaitsForTheStatementThatTheOldLeaderHasInHand(t *testing.T) {
	t.Parallel()
	pool := testkit.Postgres(t)
	_, err := pool.Exec(t.Context(), `insert into tenants (id, callback_secret) values ('a', 'whsec_x');
insert into leases values ('test', 7, 'old', clock_timestamp() + interval '1 s')`)
	require.NoError(t, err)
	hold, err := pool.Begin(t.Context())
	require.NoError(t, err)
	_, err = hold.Exec(t.Context(), `select from tenants where id = 'a' for update`)
	require.NoError(t, err)
	written := make(chan error, 1)
	go func() { written <- leased(t.Context(), pool, pg.Lease{Name: "test", Epoch: 7}, 2) }()
	testkit.Blocked(t, pool, 1)
	terms := lead(t, pool, election(t, "new"))
	testkit.Blocked(t, pool, 2) // the lease has expired, and its row is locked
	select {
	case <-terms:
		t.Fatal("took over while the old leader was writing")
	default:
	}
	require.NoError(t, hold.Rollback(t.Context()))
	require.NoError(t, <-written)
	require.EqualValues(t, 8, next(t, terms).Epoch)
}

// Many statements of a leader at once never leave the row unlocked; a renewal
// that waited for them came seconds late.
func TestARenewalWaitsForNoStatementOfItsLeader(t *testing.T) {
	t.Parallel()
	pool := testkit.Postgres(t)
	now := next(t, lead(t, pool, election(t, "x")))
	hold, err := pool.Begin(t.Context())
	require.NoError(t, err)
	defer func() { _ = hold.Rollback(context.WithoutCancel(t.Context())) }()
	_, err = hold.Exec(t.Context(), `select hold_lease($1, $2)`, now.Name, now.Epoch)
	require.NoError(t, err)
	var until, later time.Time
	require.NoError(t, pool.QueryRow(t.Context(), `select until from leases`).Scan(&until))
	require.Eventually(t, func() bool {
		require.NoError(t, pool.QueryRow(t.Context(), `select until from leases`).Scan(&later))
		return later.After(until)
	}, takeover, 10*time.Millisecond)
}

func TestALeaderWhoseConnectionIsKilledStopsAndAnotherLeads(t *testing.T) {
	t.Parallel()
	pool := testkit.Postgres(t)
	terms := lead(t, pool, election(t, "x"))
	old := next(t, terms)
	_, err := pool.Exec(t.Context(), `select pg_terminate_backend(pid) from pg_stat_activity
where datname = current_database() and query like 'insert into leases%'`)
	require.NoError(t, err)
	require.ErrorIs(t, <-old.over, pg.ErrLeaseLost)
	require.Greater(t, next(t, terms).Epoch, old.Epoch)
}

func TestALeaderThatIsNotFitGivesWayToOneThatIs(t *testing.T) {
	t.Parallel()
	pool := testkit.Postgres(t)
	var fit atomic.Bool
	fit.Store(true)
	e := election(t, "a")
	e.Fit = fit.Load
	old := next(t, lead(t, pool, e))
	standby := lead(t, pool, election(t, "b"))
	fit.Store(false)
	begin := time.Now()
	require.Equal(t, old.Epoch+1, next(t, standby).Epoch)
	require.Less(t, time.Since(begin), takeover)
}

func TestALeaseThatNobodyWantsIsTakenByOneThatIsNotFit(t *testing.T) {
	t.Parallel()
	e := election(t, "a")
	e.Fit = func() bool { return false }
	require.EqualValues(t, 1, next(t, lead(t, testkit.Postgres(t), e)).Epoch)
}

// wire is a connection to Postgres that can be cut as a network is: nothing
// comes through and nobody is told.
type wire struct {
	mu sync.Mutex // held while the wire is cut
}

func (w *wire) freeze() { w.mu.Lock() }
func (w *wire) thaw()   { w.mu.Unlock() }

// proxied returns a second pool on the database of pool, over a wire.
func proxied(t *testing.T, pool *pg.Pool) (*pg.Pool, *wire) {
	t.Helper()
	cfg := pool.Config().Copy()
	network, address := pgconn.NetworkAddress(cfg.ConnConfig.Host, cfg.ConnConfig.Port)
	ln, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // ends with the test
	require.NoError(t, err)
	w := &wire{}
	var all sync.WaitGroup
	all.Go(func() {
		for {
			in, err := ln.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial(network, address) //nolint:noctx // ends with the test
			if err != nil {
				_ = in.Close()
				continue
			}
			all.Go(func() { w.copy(out, in) })
			all.Go(func() { w.copy(in, out) })
		}
	})
	to := ln.Addr().(*net.TCPAddr)
	cfg.ConnConfig.DialFunc = func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "tcp", to.String())
	}
	far, err := pgxpool.NewWithConfig(t.Context(), cfg)
	require.NoError(t, err)
	t.Cleanup(func() {
		far.Close()
		_ = ln.Close()
		all.Wait()
	})
	return far, w
}

func (w *wire) copy(to, from net.Conn) {
	defer func() { _, _ = to.Close(), from.Close() }()
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		w.mu.Lock()
		w.mu.Unlock() //nolint:staticcheck // waits while the wire is cut
		if n > 0 {
			if _, err := to.Write(buf[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}
