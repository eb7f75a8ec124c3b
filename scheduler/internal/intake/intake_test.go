package intake_test

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/platform/bus"
	"github.com/voicemill/voicemill/platform/testkit"
	"github.com/voicemill/voicemill/scheduler/internal/intake"
	"github.com/voicemill/voicemill/scheduler/internal/store"
	"github.com/voicemill/voicemill/scheduler/internal/storetest"
)

func TestMain(m *testing.M) { testkit.Main(m) }

type bench struct {
	*storetest.Base
	bus    *bus.Bus
	stored chan []store.Inserted
}

func newBench(t *testing.T) *bench {
	t.Helper()
	return &bench{Base: storetest.New(t), bus: testkit.NATS(t), stored: make(chan []store.Inserted, 1000)}
}

func (b *bench) run(t *testing.T) (stop func()) {
	t.Helper()
	in := intake.New(intake.Deps{
		Store: b.Store.Store, Bus: b.bus, Log: testkit.Log(t),
		Stored: func(_ int, fresh []store.Inserted) { b.stored <- fresh },
	})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- in.Run(ctx) }()
	var once sync.Once
	stop = func() {
		once.Do(func() {
			cancel()
			require.NoError(t, <-done)
		})
	}
	t.Cleanup(stop)
	return stop
}

func (b *bench) publish(t *testing.T, jobs ...bus.AcceptedJob) {
	t.Helper()
	data, err := json.Marshal(bus.Envelope{Jobs: jobs})
	require.NoError(t, err)
	require.NoError(t, b.bus.PublishEnvelope(t.Context(), data))
}

// next waits for the next envelope that was stored.
func (b *bench) next(t *testing.T) []store.Inserted {
	t.Helper()
	select {
	case fresh := <-b.stored:
		return fresh
	case <-time.After(time.Minute):
		t.Fatal("no envelope was stored")
		return nil
	}
}

func (b *bench) text(t *testing.T, text string) bus.AcceptedJob {
	t.Helper()
	return b.Accepted(t, storetest.Tenant, job.Spec{Input: job.Input{Text: text}})
}

func TestAnEnvelopeBecomesRows(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	deadline := time.Now().Add(time.Hour).Truncate(time.Millisecond)
	a := b.Accepted(t, storetest.Tenant, job.Spec{
		Input: job.Input{Upload: "upl_1", Media: job.MediaEPUB}, Class: job.Interactive, Priority: -3, Deadline: &deadline,
		Labels: map[string]string{"book": "pg1661"}, Language: "de", OnFailure: job.AllowPartial, Seed: 1 << 60,
	})
	a.SourceKey, a.SourceETag, a.RequestID = "uploads/default/upl_1", "etag", "req-1"
	a.Traceparent, a.Tracestate = "00-trace", "rojo=1"
	jobs := []bus.AcceptedJob{a}
	for i := range 511 {
		jobs = append(jobs, b.text(t, fmt.Sprintf("Text %d.", i)))
	}
	b.run(t)
	b.publish(t, jobs...)
	require.Len(t, b.next(t), 512)
	var class, language, onFailure, key, etag, request, trace, state, label string
	var priority int
	var seed int64
	var due, accepted time.Time
	b.One(t, `select class, language, on_failure, source_key, source_etag, request_id, traceparent, tracestate, labels ->> 'book', priority,
(spec ->> 'seed')::bigint, deadline, accepted_at from jobs where id = $1`, []any{a.ID},
		&class, &language, &onFailure, &key, &etag, &request, &trace, &state, &label, &priority, &seed, &due, &accepted)
	require.Equal(t, []string{"interactive", "de", "partial", a.SourceKey, "etag", "req-1", "00-trace", "rojo=1", "pg1661"},
		[]string{class, language, onFailure, key, etag, request, trace, state, label})
	require.Equal(t, -3, priority)
	require.EqualValues(t, 1<<60, seed)
	require.True(t, due.Equal(deadline))
	require.WithinDuration(t, a.AcceptedAt, accepted, time.Millisecond)
	require.Equal(t, 512, b.Count(t, `select count(*) from jobs where state = 'accepted'`))
}

func TestDuplicatesAndRedeliveriesChangeNothing(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	one, two, three := b.text(t, "One."), b.text(t, "Two."), b.text(t, "Three.")
	// A former life stored the first envelope and died before the acknowledgement.
	_, err := b.Store.InsertJobs(t.Context(), []bus.AcceptedJob{one, two})
	require.NoError(t, err)
	b.Exec(t, `update jobs set state = 'planning' where id = $1`, one.ID)
	b.publish(t, one, two)
	b.publish(t, two, three, three)
	b.run(t)
	require.Empty(t, b.next(t))
	fresh := b.next(t)
	require.Len(t, fresh, 1)
	require.Equal(t, three.ID, fresh[0].ID)
	state, _, _ := b.State(t, one.ID)
	require.Equal(t, job.StatePlanning, state)
	require.Equal(t, 3, b.Count(t, `select count(*) from jobs`))
}

// Whatever is wrong with the database rather than with a job must never cost a job.
func TestADatabaseThatCannotStoreKeepsTheEnvelope(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ breaks, mends []string }{
		"its disk is full": {
			breaks: []string{
				`create function full_disk() returns trigger language plpgsql as $$ begin raise exception 'full' using errcode = '53100'; end $$`,
				`create trigger full_disk before insert on jobs for each row execute function full_disk()`,
			},
			mends: []string{`drop trigger full_disk on jobs`},
		},
		"its schema is not ours": {
			breaks: []string{`alter table jobs rename to jobs_of_tomorrow`},
			mends:  []string{`alter table jobs_of_tomorrow rename to jobs`},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t)
			for _, sql := range c.breaks {
				b.Exec(t, sql)
			}
			a := b.text(t, "Wait for me.")
			b.publish(t, a)
			b.run(t)
			require.Never(t, func() bool { return len(b.stored) > 0 }, 400*time.Millisecond, 50*time.Millisecond)
			for _, sql := range c.mends {
				b.Exec(t, sql)
			}
			fresh := b.next(t)
			require.Len(t, fresh, 1)
			require.Equal(t, a.ID, fresh[0].ID)
		})
	}
}

// A job that no row can hold must not take its neighbours with it, and its id
// must still be answered for.
func TestABadJobDoesNotPoisonItsEnvelope(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	spoiled := map[string]func(*bus.AcceptedJob){
		"a character that cannot be stored": func(a *bus.AcceptedJob) { a.Spec.Voice = "nul\x00" },
		"a class that does not exist":       func(a *bus.AcceptedJob) { a.Spec.Class = "express" },
		"a choice that does not exist":      func(a *bus.AcceptedJob) { a.Spec.OnFailure = "shrug" },
	}
	var jobs []bus.AcceptedJob
	var bad []job.ID
	for _, spoil := range spoiled {
		jobs = append(jobs, b.text(t, "A good one."))
		a := b.text(t, "A bad one.")
		a.Spec.Callback = &job.Callback{URL: "https://example.org/hook"}
		spoil(&a)
		jobs, bad = append(jobs, a), append(bad, a.ID)
	}
	stranger := b.text(t, "From a tenant without a row.")
	stranger.Tenant = "stranger"
	nameless := b.text(t, "From a tenant whose name is none.")
	nameless.Tenant = "No Such Name!"
	last := b.text(t, "The last one.")
	b.run(t)
	b.publish(t, append(jobs, stranger, nameless, last)...)
	require.Len(t, b.next(t), 2*len(spoiled)+2)
	for _, id := range bad {
		state, kind, detail := b.State(t, id)
		require.Equal(t, job.StateFailed, state)
		require.Equal(t, "internal", kind)
		require.Contains(t, detail, "submit it again")
		require.Equal(t, 1, b.Count(t, `select count(*) from deliveries where job_id = $1 and event = 'job.failed'`, id))
	}
	for _, id := range []job.ID{last.ID, stranger.ID, jobs[0].ID} {
		state, _, _ := b.State(t, id)
		require.Equal(t, job.StateAccepted, state)
	}
	require.Zero(t, b.Count(t, `select count(*) from jobs where id = $1`, nameless.ID))
}

func TestACancelThatCameFirstWins(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	a := b.text(t, "Never mind.")
	a.Spec.Callback = &job.Callback{URL: "https://example.org/hook"}
	b.Exec(t, `insert into cancellations (job_id, tenant_id) values ($1, $2)`, a.ID, a.Tenant)
	b.AddTenant(t, "other")
	foreign := b.text(t, "Not yours to cancel.")
	b.Exec(t, `insert into cancellations (job_id, tenant_id) values ($1, 'other')`, foreign.ID)
	b.run(t)
	b.publish(t, a, foreign)
	require.Len(t, b.next(t), 2)
	state, _, _ := b.State(t, a.ID)
	require.Equal(t, job.StateCancelled, state)
	require.Equal(t, 1, b.Count(t, `select count(*) from deliveries where job_id = $1 and event = 'job.cancelled'`, a.ID))
	state, _, _ = b.State(t, foreign.ID)
	require.Equal(t, job.StateAccepted, state)
}

func TestANewJobIsHinted(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	ctx, cancel := context.WithCancel(t.Context())
	hints := make(chan job.ID, 10)
	done := make(chan error, 1)
	go func() { done <- b.bus.Hints(ctx, func(h bus.Hinted) { hints <- h.ID }) }()
	require.Eventually(t, func() bool { // the subscription stands once a hint comes through
		b.bus.Hint("job_probe", 1)
		select {
		case <-hints:
			return true
		default:
			return false
		}
	}, time.Minute, 10*time.Millisecond)
	a := b.text(t, "Tell them.")
	b.run(t)
	b.publish(t, a)
	b.next(t)
	for id := job.ID(""); id != a.ID; id = <-hints {
	}
	cancel()
	require.NoError(t, <-done)
}
