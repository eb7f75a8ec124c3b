package release_test

import (
	"context"
	"encoding/hex"
	"maps"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/scheduler/internal/storetest"
)

// commanded is what a command did, as its function says it.
type commanded struct {
	state   job.State
	version int64
	changed bool
	refused *string
}

// command runs a command on a job with the gateway's own statement.
func (h *hands) command(ctx context.Context, name string, id job.ID, args ...any) (c commanded, err error) {
	err = h.db.QueryRow(ctx, h.gateway.Get(name), append([]any{id, ""}, args...)...).Scan(&c.state, &c.version, &c.changed, &c.refused)
	return c, err
}

// commandOn picks a job and runs a command on it; a command that is repeated
// changes nothing.
func (w *world) commandOn(t *rapid.T, name string, args ...any) (*request, commanded) {
	if len(w.jobs) == 0 {
		t.Skip("no job")
	}
	r := pick(t, w.jobs)
	c, err := w.command(w.ctx, name, r.ID, args...)
	require.NoError(t, err)
	before := w.Digest(w.t)
	again, err := w.command(w.ctx, name, r.ID, args...)
	require.NoError(t, err)
	require.False(t, again.changed, "%s twice", name)
	require.Equal(t, before, w.Digest(w.t), "%s twice", name)
	return r, c
}

func (w *world) pause(t *rapid.T) { w.commandOn(t, "PauseJob") }

func (w *world) resume(t *rapid.T) { w.commandOn(t, "ResumeJob") }

// redrive has what failed done again: nothing of it has failed then.
func (w *world) redrive(t *rapid.T) {
	r, c := w.commandOn(t, "RedriveJob")
	if c.changed {
		r.refused = false
		delete(w.fails, string(r.ID))
	}
}

// redo has a segment spoken otherwise: under another key.
func (w *world) redo(t *rapid.T) {
	if len(w.jobs) == 0 {
		t.Skip("no job")
	}
	r := pick(t, w.jobs)
	n := rapid.IntRange(1, len(r.texts)).Draw(t, "segment")
	var state string
	require.NoError(t, w.DB.QueryRow(w.ctx, `select coalesce((select s.state from jobs j cross join lateral segments_between(j.num, $2, $2) s where j.id = $1), '')`, r.ID, n).Scan(&state))
	seed := int64(rapid.IntRange(0, 3).Draw(t, "seed"))
	key := job.Rendition{Tenant: storetest.Tenant, Pool: storetest.Pool, Text: r.texts[n-1], Seed: seed}.Key()
	raw, err := hex.DecodeString(key)
	require.NoError(t, err)
	c, err := w.command(w.ctx, "RedoSegment", r.ID, n, raw, seed, nil)
	require.NoError(t, err)
	if c.changed {
		require.Contains(t, []string{"done", "reused", "failed"}, state)
	}
	if c.changed && state == "failed" {
		w.fails[string(r.ID)]--
	}
}

func (w *world) set(t *rapid.T) {
	w.commandOn(t, "SetJob", rapid.IntRange(0, 2).Draw(t, "priority"), rapid.SampledFrom([]string{"interactive", "bulk"}).Draw(t, "class"), nil)
}

// orders are the commands that meet what else happens to a job.
func orders() map[string]func(w *world, r *request) error {
	plain := func(name string, args ...any) func(w *world, r *request) error {
		return func(w *world, r *request) error {
			_, err := w.command(w.ctx, name, r.ID, args...)
			return err
		}
	}
	return map[string]func(w *world, r *request) error{
		"pause": plain("PauseJob"), "resume": plain("ResumeJob"), "redrive": plain("RedriveJob"), "set": plain("SetJob", 1, "interactive", nil),
		"redo": plain("RedoSegment", 1, make([]byte, 32), 9, nil),
	}
}

// Whatever a command meets, all that is stored fits together, nobody waits for
// each other, and the job comes home.
func TestACommandThatMeetsAnythingContradictsNothing(t *testing.T) {
	w := newWorld(t)
	all, commands := map[string]deed{}, orders()
	for _, d := range deeds() {
		all[d.name] = d
	}
	for name, do := range commands {
		all["command "+name] = deed{name, func(w *world, t *rapid.T, r *request) {
			w.claimed(t)
			w.planned(t, r)
			w.released(t)
			w.settled(t, r, "done", "failed", "pending", "done", "done")
		}, func(w *world, r *request, _ *told) error { return do(w, r) }}
	}
	names := slices.Sorted(maps.Keys(all))
	setRapid(t, pairRuns)
	rapid.Check(t, func(t *rapid.T) {
		d, name := all[rapid.SampledFrom(names).Draw(t, "deed")], rapid.SampledFrom(slices.Sorted(maps.Keys(commands))).Draw(t, "command")
		w.begin(t)
		w.submit(t)
		r := w.jobs[0]
		d.ready(w, t, r)
		if rapid.Bool().Draw(t, "paused") && name == "resume" {
			require.NoError(t, commands["pause"](w, r))
		}
		const count = `select deadlocks from pg_stat_database where datname = current_database()`
		var before, after int
		require.NoError(t, w.DB.QueryRow(w.ctx, count).Scan(&before))
		do := func() error { return d.do(w, r, &told{versions: map[job.ID]int64{}}) }
		order := func() error { return commands[name](w, r) }
		table := rapid.SampledFrom([]string{"jobs", "queues", "outstanding", "retries", "chapters", "outbox", "blocks", "leases"}).Draw(t, "kept")
		if rapid.Bool().Draw(t, "command first") {
			do, order = order, do
		}
		w.meet(t, table, do, order)
		w.agree(t)
		require.NoError(t, w.DB.QueryRow(w.ctx, count).Scan(&after))
		require.Equal(t, before, after, "the two waited for each other")
		w.drain(t)
	})
}
