package release_test

import (
	"context"
	"flag"
	"fmt"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/platform/bus"
	"github.com/voicemill/voicemill/platform/embed/natsd"
	"github.com/voicemill/voicemill/platform/pg"
	"github.com/voicemill/voicemill/platform/testkit"
	"github.com/voicemill/voicemill/scheduler/internal/release"
	"github.com/voicemill/voicemill/scheduler/internal/store"
	"github.com/voicemill/voicemill/scheduler/internal/storetest"
)

const (
	modelRuns  = "25" // without VOICEMILL_MODEL_RUNS
	modelSteps = "50"
	drainSteps = 300 // in which everything must come home
)

// world is a deployment whose every move the test makes: gateway, planner, a
// leader and those that were leaders, workers. Postgres and NATS are real.
type world struct {
	*storetest.Base
	*hands
	ctx    context.Context //nolint:containedctx // of the test, for all that it does
	t      *testing.T
	server *natsd.Server
	bus    *bus.Bus // of the leaders
	works  *bus.Bus // of the workers
	slots  int
	batch  int

	epoch  int64
	leader *release.Stepper
	former []*release.Stepper

	jobs   []*request
	claims []store.Claim
	held   []*held
	past   []outcome
	fails  map[string]int  // segments that were settled as failed, by job
	died   map[string]bool // segments whose worker was taken for dead
	seen   map[job.ID]seen
}

// request is a job and what its plan will be.
type request struct {
	bus.AcceptedJob
	texts     []string
	seconds   []float64
	chapters  int
	cancelled bool
	refused   bool // its plan failed
}

// held is a delivery in a worker's hands.
type held struct {
	bus.Delivery[bus.Bundle]
	left uint64
}

// seen is what was seen of a job last.
type seen struct {
	version int64
	rest    string
}

// begin empties everything that a former run has left.
func (w *world) begin(t *rapid.T) {
	w.exec(t, `delete from jobs; delete from outstanding; delete from renditions; delete from virtual_times; delete from cancellations; delete from leases`)
	_, err := w.bus.MarkWork(w.ctx)
	require.NoError(t, err)
	_, err = w.bus.RenewWork(w.ctx)
	require.NoError(t, err)
	w.slots = rapid.SampledFrom([]int{2, 8, 32}).Draw(t, "slots")
	w.batch = min(w.slots, 16)
	w.leader, w.former, w.jobs, w.claims, w.held, w.past = nil, nil, nil, nil, nil, nil
	w.dropped = nil
	w.fails, w.died, w.seen = map[string]int{}, map[string]bool{}, map[job.ID]seen{}
	w.epoch = 0
	w.lead(t)
}

func (w *world) exec(t *rapid.T, sql string, args ...any) {
	_, err := w.DB.Exec(w.ctx, sql, args...)
	require.NoError(t, err, sql)
}

// lead makes another process the leader.
func (w *world) lead(t *rapid.T) {
	w.epoch++
	w.exec(t, `insert into leases values ('model', $1, 'x', 'infinity') on conflict (name) do update set epoch = $1`, w.epoch)
	if w.leader != nil {
		w.former = append(w.former, w.leader)
	}
	cfg := release.DefaultConfig()
	cfg.Tick, cfg.SweepAfter = 0, time.Minute
	w.leader = release.NewStepper(cfg, release.Deps{Bus: w.bus, Log: testkit.Log(w.t), Observe: func(release.Event) {}}, w.leased())
}

func (w *world) leased() *store.Leased { return w.Store.Under(pg.Lease{Name: "model", Epoch: w.epoch}) }

func (w *world) capacity() bus.Capacity {
	return bus.Capacity{Worker: "w", Pool: storetest.Pool, Slots: w.slots, Batch: w.batch, Static: true, Goodput: 100}
}

func (w *world) submit(t *rapid.T) {
	if len(w.jobs) >= 6 {
		t.Skip("enough")
	}
	spec := job.Spec{
		Input: job.Input{Text: "x"}, Class: rapid.SampledFrom([]job.Class{job.Interactive, job.Bulk}).Draw(t, "class"),
		OnFailure: rapid.SampledFrom([]job.OnFailure{job.FailJob, job.AllowPartial}).Draw(t, "on failure"),
	}
	r := &request{AcceptedJob: w.Accepted(w.t, storetest.Tenant, spec)}
	n := rapid.SampledFrom([]int{1, 2, 5, 17, 70, 130}).Draw(t, "segments")
	r.chapters = rapid.IntRange(1, min(3, n)).Draw(t, "chapters")
	shared := rapid.IntRange(0, n).Draw(t, "shared")
	for i := range n {
		text := fmt.Sprintf("%s %d", r.ID, i)
		if i < shared {
			text = fmt.Sprintf("shared %d", i%7) // by other jobs, and by itself
		}
		r.texts, r.seconds = append(r.texts, text), append(r.seconds, float64(1+len(text)%3))
	}
	_, err := w.Store.InsertJobs(w.ctx, []bus.AcceptedJob{r.AcceptedJob})
	require.NoError(t, err)
	w.jobs = append(w.jobs, r)
}

// claimSome claims jobs of both classes, up to limit of each.
func (w *world) claimSome(limit int) (list []store.Claim, err error) {
	for _, class := range []job.Class{job.Interactive, job.Bulk} {
		some, err := w.leased().Claim(w.ctx, store.Ask{Class: class, Limit: limit})
		if err != nil {
			return nil, err
		}
		list = append(list, some...)
	}
	return list, nil
}

// claim begins to plan; a job whose planner is gone is claimed again.
func (w *world) claim(t *rapid.T) {
	list, err := w.claimSome(rapid.IntRange(1, 3).Draw(t, "jobs"))
	require.NoError(t, err)
	if len(list) == 0 && len(w.claims) > 0 {
		list, err = w.leased().ClaimAgain(w.ctx, pick(t, w.claims).ID)
		require.NoError(t, err)
	}
	w.claims = append(w.claims, list...)
}

// plan stores a plan, of an old claim perhaps.
func (w *world) plan(t *rapid.T) {
	if len(w.claims) == 0 {
		t.Skip("nothing is planned")
	}
	c := pick(t, w.claims)
	r := w.request(c.ID)
	if rapid.IntRange(0, 9).Draw(t, "fails") == 0 {
		done, err := w.leased().FailPlan(w.ctx, c.ID, job.Invalid, "x")
		require.NoError(t, err)
		r.refused = r.refused || len(done) > 0
		return
	}
	w.commit(t, r.plan(c))
}

// commit stores a plan. The leader is told of it at once, or finds it.
func (w *world) commit(t *rapid.T, p store.Plan) {
	done, err := w.leased().CommitPlans(w.ctx, []store.Plan{p})
	require.NoError(t, err)
	for _, d := range done {
		w.leader.Planned(d)
	}
}

func (w *world) request(id job.ID) *request {
	return w.jobs[slices.IndexFunc(w.jobs, func(r *request) bool { return r.ID == id })]
}

func (r *request) plan(c store.Claim) store.Plan {
	var list []*store.Chapter
	each := (len(r.texts) + r.chapters - 1) / r.chapters
	for n := 1; n <= len(r.texts); {
		ch := &store.Chapter{Ordinal: len(list) + 1, Matter: "body", FirstSegment: n}
		digest := job.NewOrderDigest()
		for ; n <= len(r.texts) && len(ch.Segments) < each; n++ {
			text := r.texts[n-1]
			key := job.Rendition{Tenant: storetest.Tenant, Pool: storetest.Pool, Text: text}.Key()
			digest.Add(key)
			ch.Segments = append(ch.Segments, store.PlannedSegment{
				N: n, Chapter: ch.Ordinal, Text: text, Voice: storetest.Voice, Language: "en", Pool: storetest.Pool, Break: "sentence",
				Seconds: r.seconds[n-1], SampleRate: storetest.SampleRate, Characters: len(text), RenditionKey: key,
			})
		}
		ch.Digest = digest.Sum()
		list = append(list, ch)
	}
	return store.Plan{
		ID: c.ID, Num: c.Num, Attempt: c.Attempt, Tenant: c.Tenant, Class: c.Class, Title: "x", Language: "en", Claim: &c,
		Chapters: func(yield func(*store.Chapter, error) bool) {
			for _, ch := range list {
				if !yield(ch, nil) {
					return
				}
			}
		},
	}
}

func pick[T any](t *rapid.T, list []T) T {
	return list[rapid.IntRange(0, len(list)-1).Draw(t, "which")]
}

// step lets the leader take a step. It keeps no more of a class out than workers
// take and two batches for each backend; interactive work goes out beside bulk.
func (w *world) step(t *rapid.T) {
	_, err := w.leader.Step(w.ctx, w.capacity())
	require.NoError(t, err)
	var out int
	require.NoError(t, w.DB.QueryRow(w.ctx, `select coalesce(max(n), 0) from (select sum(bit_count(mask::bit(64))) as n
		from outstanding o join jobs j on j.num = o.job group by j.class) x`).Scan(&out))
	require.LessOrEqual(t, out, 3*w.slots)
	waiting, kept := w.leader.Waiting()
	require.LessOrEqual(t, waiting+kept, 6*140)
}

// ghost lets a former leader take a step: it comes back after a pause.
func (w *world) ghost(t *rapid.T) {
	if len(w.former) == 0 {
		t.Skip("nobody led before")
	}
	before := w.Digest(w.t)
	if _, err := pick(t, w.former).Step(w.ctx, w.capacity()); err != nil {
		require.True(t, pg.IsLeaseLost(err), "%v", err)
	}
	require.Equal(t, before, w.Digest(w.t), "a leader without its lease changed something")
}

// pass lets time go by: what waits is due, what is out has been out for long.
func (w *world) pass(t *rapid.T) {
	w.exec(t, `update retries set not_before = not_before - interval '1 hour'; update outbox set not_before = not_before - interval '1 hour';
		update outstanding set released_at = released_at - interval '1 hour'`)
	w.leader.Pass()
}

// fetch takes bundles; what nobody wants any more is ended.
func (w *world) fetch(t *rapid.T) {
	class := rapid.SampledFrom([]job.Class{job.Interactive, job.Bulk}).Draw(t, "class")
	w.take(t, class, rapid.IntRange(1, 4).Draw(t, "bundles"))
}

func (w *world) take(t *rapid.T, class job.Class, n int) {
	got, _ := w.works.FetchWork(w.ctx, storetest.Pool, class, n, 0) // WORK may be being made anew
	for _, d := range got {
		left, err := w.hands.claim(w.ctx, d)
		require.NoError(t, err)
		w.held = append(w.held, &held{d, left})
	}
}

// work settles some of what is in hand.
func (w *world) work(t *rapid.T) {
	if len(w.held) == 0 {
		t.Skip("nothing is in hand")
	}
	h := pick(t, w.held)
	var list []outcome
	for _, g := range h.Value.Segments {
		if h.left>>((g.N-1)%bus.BlockSegments)&1 == 1 && rapid.IntRange(0, 3).Draw(t, "now") > 0 {
			state := rapid.SampledFrom([]string{"done", "done", "done", "done", "pending", "failed", "died"}).Draw(t, "outcome")
			list = append(list, outcome{h.Value, g, state})
		}
	}
	w.settle(t, h, list)
}

func (w *world) settle(t *rapid.T, h *held, list []outcome) {
	if len(list) > 0 {
		applied, err := w.hands.settle(w.ctx, list)
		require.NoError(t, err)
		var notes []bus.Settled
		for i, o := range list {
			h.left &^= 1 << ((o.segment.N - 1) % bus.BlockSegments)
			w.applied(o, applied[i])
			notes = append(notes, bus.Settled{Job: o.bundle.Job, N: o.segment.N, Attempt: o.bundle.Attempt, Pool: o.bundle.Pool, Actual: 1})
		}
		w.past = append(w.past, list...)
		w.leader.Settled(notes)
	}
	if h.left == 0 {
		w.end(h)
	}
}

// end acknowledges a delivery; one of a former life of WORK is nobody's.
func (w *world) end(h *held) {
	w.held = slices.DeleteFunc(w.held, func(o *held) bool { return o == h })
	ctx, cancel := context.WithTimeout(w.ctx, 20*time.Millisecond)
	defer cancel()
	_ = h.Ack(ctx)
}

// die loses a worker with what it has in hand: it is delivered again.
func (w *world) die(t *rapid.T) {
	if len(w.held) == 0 {
		t.Skip("nothing is in hand")
	}
	h := pick(t, w.held)
	w.held = slices.DeleteFunc(w.held, func(o *held) bool { return o == h })
	_ = h.Nak()
}

// lose loses one message: it is ended, and what it asked for is not done.
func (w *world) lose(t *rapid.T) {
	if len(w.held) == 0 {
		t.Skip("nothing is in hand")
	}
	w.end(pick(t, w.held))
}

// late settles once more what was settled before: by a worker that was slow, or
// under an attempt that is over. A death is not charged, so a segment whose
// worker was taken for dead is out again under the same attempt; if the worker
// lives after all, its outcome is as good as that of the next one.
func (w *world) late(t *rapid.T) {
	if len(w.past) == 0 {
		t.Skip("nothing was settled")
	}
	o := pick(t, w.past)
	o.state = rapid.SampledFrom([]string{"done", "pending", "failed", "died"}).Draw(t, "outcome")
	before := w.Digest(w.t)
	applied, err := w.hands.settle(w.ctx, []outcome{o})
	require.NoError(t, err)
	if w.died[o.name()] && o.segment.N == o.bundle.N() {
		w.applied(o, applied[0])
		return
	}
	require.False(t, applied[0], "%s of segment %d, attempt %d, counted twice", o.state, o.segment.N, o.bundle.Attempt)
	require.Equal(t, before, w.Digest(w.t), "a late worker changed something")
}

func (o *outcome) name() string { return fmt.Sprintf("%s/%d", o.bundle.JobID, o.segment.N) }

// applied remembers what the end of the history is compared with.
func (w *world) applied(o outcome, counted bool) {
	switch {
	case !counted:
	case o.state == "failed":
		w.fails[string(o.bundle.JobID)]++
	case o.state == "died":
		w.died[o.name()] = true
	}
}

func (w *world) stop(t *rapid.T) {
	if len(w.jobs) == 0 {
		t.Skip("no job")
	}
	r := pick(t, w.jobs)
	changed, _, err := w.cancel(w.ctx, r.ID)
	require.NoError(t, err)
	r.cancelled = r.cancelled || changed
	if rapid.Bool().Draw(t, "purged") {
		_ = w.bus.PurgeJob(w.ctx, r.ID) // WORK may be gone
	}
}

// wipe loses all that WORK holds: with the stream, or out of it.
func (w *world) wipe(t *rapid.T) {
	if rapid.Bool().Draw(t, "emptied") {
		_, _ = w.bus.RenewWork(w.ctx) // or it is gone already
		return
	}
	if _, err := w.bus.MarkWork(w.ctx); err != nil {
		t.Fatalf("%v", err)
	}
	testkit.DropWork(w.t, w.server)
	w.works.Close()
	w.hire()
}

// hire gets a worker that knows of no consumer yet.
func (w *world) hire() {
	var err error
	w.works, err = bus.Connect(w.ctx, bus.Config{}, testkit.Log(w.t), bus.InProcess(w.server))
	require.NoError(w.t, err)
}

// joins does what is due for joining, or tries it, or finds damaged audio.
func (w *world) joins(t *rapid.T) {
	class := rapid.SampledFrom([]job.Class{job.Interactive, job.Bulk}).Draw(t, "class")
	w.assemble(t, class, rapid.SampledFrom([]fate{well, well, inVain, damaged}).Draw(t, "how"))
}

func (w *world) assemble(t *rapid.T, class job.Class, how fate) {
	got, _ := w.works.FetchAssembly(w.ctx, class, 2, 0) // as in take
	for _, d := range got {
		require.NoError(t, w.join(w.ctx, d.Value, d.Deliveries > 1, how))
		require.NoError(t, d.Ack(w.ctx))
	}
}

// drain lets everybody do their work in good order until all jobs have ended.
func (w *world) drain(t *rapid.T) {
	for _, r := range w.jobs {
		_, err := w.command(w.ctx, "ResumeJob", r.ID)
		require.NoError(t, err)
	}
	for range drainSteps {
		var open int
		require.NoError(t, w.DB.QueryRow(w.ctx, `select count(*) from jobs where finished_at is null`).Scan(&open))
		if open == 0 {
			return
		}
		w.round(t)
		w.agree(t)
	}
	t.Fatalf("not all came home: %s", w.state(t))
}

// round lets everybody do once what there is to do.
func (w *world) round(t *rapid.T) {
	claims, err := w.claimSome(10)
	require.NoError(t, err)
	for _, r := range w.jobs {
		again, err := w.leased().ClaimAgain(w.ctx, r.ID)
		require.NoError(t, err)
		claims = append(claims, again...)
	}
	for _, c := range claims {
		w.commit(t, w.request(c.ID).plan(c))
	}
	w.pass(t)
	w.step(t)
	for _, class := range []job.Class{job.Interactive, job.Bulk} {
		w.take(t, class, 64)
		w.assemble(t, class, well)
	}
	for _, h := range slices.Clone(w.held) {
		var list []outcome
		for _, g := range h.Value.Segments {
			if h.left>>((g.N-1)%bus.BlockSegments)&1 == 1 {
				list = append(list, outcome{h.Value, g, "done"})
			}
		}
		w.settle(t, h, list)
	}
}

func (w *world) state(t *rapid.T) (text string) {
	require.NoError(t, w.DB.QueryRow(w.ctx, `select string_agg(format('%s %s %s/%s', id, state, segments_done + segments_reused + segments_failed, segments_total), '; ') || ' out: ' ||
		coalesce((select string_agg(o::text, ' ') from outstanding o), '') || ' due: ' || coalesce((select string_agg(x::text, ' ') from outbox x), '') ||
		' again: ' || coalesce((select string_agg(r::text, ' ') from retries r), '') || ' queued: ' || coalesce((select string_agg(q::text, ' ') from queues q), '') from jobs`).Scan(&text))
	return text
}

func newWorld(t *testing.T) *world {
	t.Helper()
	base := storetest.New(t)
	h, err := newHands(base.DB)
	require.NoError(t, err)
	server := testkit.NATSServer(t, t.TempDir())
	w := &world{Base: base, hands: h, ctx: t.Context(), t: t, server: server, bus: testkit.Bus(t, server, bus.Config{})}
	w.hire()
	t.Cleanup(func() { w.works.Close() })
	return w
}

// setRapid says how many runs there are, for one test.
func setRapid(t *testing.T, runs string) {
	t.Helper()
	if v := os.Getenv("VOICEMILL_MODEL_RUNS"); v != "" {
		runs = v
	}
	for name, value := range map[string]string{"rapid.checks": runs, "rapid.steps": modelSteps} {
		old := flag.Lookup(name).Value.String()
		require.NoError(t, flag.Set(name, value))
		t.Cleanup(func() { _ = flag.Set(name, old) })
	}
}

func TestWhateverHappensEverySegmentComesHomeOnce(t *testing.T) {
	w := newWorld(t)
	setRapid(t, modelRuns)
	rapid.Check(t, func(t *rapid.T) {
		w.begin(t)
		t.Repeat(map[string]func(*rapid.T){
			"": w.agree, "submit": w.submit, "claim": w.claim, "plan": w.plan, "step": w.step, "a step": w.step, "ghost": w.ghost, "pass": w.pass,
			"fetch": w.fetch, "work": w.work, "some work": w.work, "die": w.die, "lose": w.lose, "late": w.late, "cancel": w.stop, "wipe": w.wipe,
			"join": w.joins, "takeover": w.lead, "round": w.round, "a round": w.round,
			"pause": w.pause, "resume": w.resume, "redrive": w.redrive, "redo": w.redo, "set": w.set,
		})
		w.drain(t)
		w.judge(t)
	})
}
