package release_test

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/platform/bus"
	"github.com/voicemill/voicemill/scheduler/internal/store"
)

const pairRuns = "60" // without VOICEMILL_MODEL_RUNS

// told is the newest version of each job that anybody was told of.
type told struct {
	mu       sync.Mutex // guards versions
	versions map[job.ID]int64
}

func (k *told) hear(h bus.Hinted) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.versions[h.ID] = max(k.versions[h.ID], h.Version)
}

func (k *told) of(id job.ID) int64 {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.versions[id]
}

// deed is what meets a cancel. It tells whoever listens, as the real one does.
type deed struct {
	name string
	// ready brings the job of w to where the deed can be done.
	ready func(w *world, t *rapid.T, r *request)
	do    func(w *world, r *request, k *told) error
}

func deeds() []deed {
	planned := func(w *world, t *rapid.T, r *request) { w.claimed(t); w.planned(t, r) }
	released := func(w *world, t *rapid.T, r *request) { planned(w, t, r); w.released(t) }
	return []deed{
		{"claim of a planner", func(*world, *rapid.T, *request) {}, func(w *world, _ *request, _ *told) error {
			_, err := w.claimSome(5)
			return err
		}},
		{"second claim", func(w *world, t *rapid.T, _ *request) { w.claimed(t) }, func(w *world, r *request, _ *told) error {
			_, err := w.leased().ClaimAgain(w.ctx, r.ID)
			return err
		}},
		{"plan", func(w *world, t *rapid.T, _ *request) { w.claimed(t) }, func(w *world, r *request, k *told) error {
			done, err := w.leased().CommitPlans(w.ctx, []store.Plan{r.plan(w.claims[0])})
			for _, p := range done {
				k.hear(bus.Hinted{ID: p.ID, Version: p.Version.Version})
			}
			return err
		}},
		{"failed plan", func(w *world, t *rapid.T, _ *request) { w.claimed(t) }, func(w *world, r *request, k *told) error {
			done, err := w.leased().FailPlan(w.ctx, r.ID, job.Invalid, "x")
			for _, v := range done {
				k.hear(bus.Hinted{ID: v.ID, Version: v.Version})
			}
			return err
		}},
		{"release", planned, release1},
		{"release of more", func(w *world, t *rapid.T, r *request) {
			released(w, t, r)
			w.settled(t, r, "done")
		}, release1},
		{"release of retries", func(w *world, t *rapid.T, r *request) {
			released(w, t, r)
			w.settled(t, r, "pending")
			w.pass(t)
		}, release1},
		{"claim of a worker", released, func(w *world, _ *request, _ *told) error {
			_, err := w.hands.claim(w.ctx, w.held[0].Delivery)
			return err
		}},
		{"settle", released, func(w *world, r *request, k *told) error {
			return w.settleAll(r, k, "done", "pending", "failed", "died")
		}},
		{"last settle", released, func(w *world, r *request, k *told) error { return w.settleAll(r, k, "done") }},
		{"assembly", func(w *world, t *rapid.T, r *request) { released(w, t, r); w.spoken(t) }, joinAll},
		{"end", func(w *world, t *rapid.T, r *request) {
			released(w, t, r)
			w.spoken(t)
			for _, a := range w.due(t) {
				require.NoError(t, w.join(w.ctx, a, false, well))
			}
			w.pass(t)
			w.step(t)
		}, joinAll},
		{"damage", func(w *world, t *rapid.T, r *request) { released(w, t, r); w.spoken(t) }, func(w *world, r *request, k *told) error {
			return w.version(r, k, w.join(w.ctx, bus.Assembly{JobID: r.ID, Ordinal: 1, Attempt: 1}, false, damaged))
		}},
		{"join in vain", func(w *world, t *rapid.T, r *request) { released(w, t, r); w.spoken(t) }, func(w *world, r *request, _ *told) error {
			return w.join(w.ctx, bus.Assembly{JobID: r.ID, Ordinal: 1, Attempt: 1}, false, inVain)
		}},
	}
}

func release1(w *world, _ *request, _ *told) error {
	_, err := w.leader.Step(w.ctx, w.capacity())
	return err
}

func (w *world) claimed(t *rapid.T) {
	list, err := w.claimSome(5)
	require.NoError(t, err)
	w.claims = list
}

func (w *world) planned(t *rapid.T, r *request) {
	w.commit(t, r.plan(w.claims[0]))
}

func (w *world) released(t *rapid.T) {
	w.step(t)
	for range 100 {
		if len(w.held) == 0 {
			w.take(t, job.Interactive, 64)
			w.take(t, job.Bulk, 64)
		}
	}
	require.NotEmpty(t, w.held)
}

func (w *world) settled(t *rapid.T, r *request, states ...string) {
	require.NoError(t, w.settleAll(r, nil, states...))
}

// settleAll settles all that is in hand, with the states in turn.
func (w *world) settleAll(r *request, k *told, states ...string) error {
	var list []outcome
	for _, h := range w.held {
		for _, g := range h.Value.Segments {
			list = append(list, outcome{h.Value, g, states[len(list)%len(states)]})
		}
	}
	_, err := w.hands.settle(w.ctx, list)
	return w.version(r, k, err)
}

// version tells of the version that a job has now, as whoever changed it does.
func (w *world) version(r *request, k *told, err error) error {
	var v int64
	if err == nil && k != nil {
		err = w.DB.QueryRow(w.ctx, `select version from jobs where id = $1`, r.ID).Scan(&v)
		k.hear(bus.Hinted{ID: r.ID, Version: v})
	}
	return err
}

// spoken settles everything and lets the joins out.
func (w *world) spoken(t *rapid.T) {
	for range drainSteps {
		require.NoError(t, w.settleAll(w.jobs[0], nil, "done"))
		w.held = nil
		w.pass(t)
		w.step(t)
		w.take(t, job.Interactive, 64)
		w.take(t, job.Bulk, 64)
		if len(w.held) == 0 && len(w.due(t)) > 0 {
			return
		}
	}
	t.Fatalf("nothing is due: %s", w.state(t))
}

// due returns the joins that are out.
func (w *world) due(t *rapid.T) []bus.Assembly {
	rows, err := w.DB.Query(w.ctx, `select job_id, ordinal, attempt from outbox where released_at is not null order by ordinal`)
	require.NoError(t, err)
	list, err := pgx.CollectRows(rows, func(r pgx.CollectableRow) (a bus.Assembly, err error) {
		err = r.Scan(&a.JobID, &a.Ordinal, &a.Attempt)
		return a, err
	})
	require.NoError(t, err)
	return list
}

func joinAll(w *world, r *request, k *told) error {
	for ordinal := range r.chapters + 1 {
		if err := w.join(w.ctx, bus.Assembly{JobID: r.ID, Ordinal: ordinal, Attempt: 1}, false, well); err != nil {
			return err
		}
	}
	return w.version(r, k, nil)
}

// meet starts two deeds while a third party keeps a row of a table, one after
// the other has come as far as it can, and lets them go on at once.
func (w *world) meet(t *rapid.T, table string, first, second func() error) {
	keep, err := w.DB.Begin(w.ctx)
	require.NoError(t, err)
	defer func() { _ = keep.Rollback(context.WithoutCancel(w.ctx)) }()
	_, err = keep.Exec(w.ctx, fmt.Sprintf(`select from %s for update`, table))
	require.NoError(t, err)
	var waiting []chan error
	for _, do := range []func() error{first, second} {
		done := make(chan error, 1)
		waiting = append(waiting, done)
		go func() { done <- do() }()
		w.comesToRest(t, waiting)
	}
	require.NoError(t, keep.Commit(w.ctx))
	for _, done := range waiting {
		require.NoError(t, <-done)
	}
}

// comesToRest waits until each deed is done or waits for a lock.
func (w *world) comesToRest(t *rapid.T, deeds []chan error) {
	for {
		open := 0
		for _, done := range deeds {
			if len(done) == 0 {
				open++
			}
		}
		var blocked int
		require.NoError(t, w.DB.QueryRow(w.ctx, `select count(distinct pid) from pg_locks join pg_stat_activity using (pid)
			where not granted and datname = current_database() and backend_type = 'client backend'`).Scan(&blocked))
		if blocked >= open {
			return
		}
		select {
		case <-w.ctx.Done():
			return
		case <-time.After(200 * time.Microsecond):
		}
	}
}

// Whatever a cancel meets, the job ends in one state, all that is stored fits
// it, and somebody was told of its last version.
func TestACancelThatMeetsAnythingEndsInOneStateThatEverybodyWasTold(t *testing.T) {
	w := newWorld(t)
	k := &told{versions: map[job.ID]int64{}}
	ctx, cancel := context.WithCancel(t.Context())
	var listening sync.WaitGroup
	listening.Go(func() {
		if err := w.bus.Hints(ctx, k.hear); err != nil {
			t.Errorf("hints: %v", err)
		}
	})
	t.Cleanup(func() { cancel(); listening.Wait() })
	all := map[string]deed{}
	for _, d := range deeds() {
		all[d.name] = d
	}
	names := slices.Sorted(maps.Keys(all))
	setRapid(t, pairRuns)
	rapid.Check(t, func(t *rapid.T) {
		d := all[rapid.SampledFrom(names).Draw(t, "deed")]
		w.begin(t)
		w.submit(t)
		r := w.jobs[0]
		d.ready(w, t, r)
		var deadlocks int
		const count = `select deadlocks from pg_stat_database where datname = current_database()`
		require.NoError(t, w.DB.QueryRow(w.ctx, count).Scan(&deadlocks))
		do := func() error { return d.do(w, r, k) }
		stop := func() error {
			changed, version, err := w.cancel(w.ctx, r.ID)
			r.cancelled = changed
			k.hear(bus.Hinted{ID: r.ID, Version: version})
			return err
		}
		table := rapid.SampledFrom([]string{"jobs", "queues", "outstanding", "retries", "chapters", "outbox", "blocks", "leases"}).Draw(t, "kept")
		if rapid.Bool().Draw(t, "cancel first") {
			do, stop = stop, do
		}
		w.meet(t, table, do, stop)
		w.agree(t)
		var state job.State
		var version int64
		require.NoError(t, w.DB.QueryRow(w.ctx, `select state, version from jobs where id = $1`, r.ID).Scan(&state, &version))
		require.True(t, state.Final(), "%s after a cancel", state)
		require.Equal(t, r.cancelled, state == job.StateCancelled, "the gateway has said %v, and the job is %s", r.cancelled, state)
		require.Eventually(t, func() bool { return k.of(r.ID) >= version }, soon, time.Millisecond, "version %d was told of %d", k.of(r.ID), version)
		var after, left int
		require.NoError(t, w.DB.QueryRow(w.ctx, count).Scan(&after))
		require.Equal(t, deadlocks, after, "the two waited for each other")
		require.NoError(t, w.DB.QueryRow(w.ctx, `select count(*) from segments where state in ('pending', 'released')`).Scan(&left))
		require.Zero(t, left, "segments of an ended job are open")
	})
}
