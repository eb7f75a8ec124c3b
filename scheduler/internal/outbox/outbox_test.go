package outbox_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/platform/bus"
	"github.com/voicemill/voicemill/platform/testkit"
	"github.com/voicemill/voicemill/scheduler/internal/outbox"
	"github.com/voicemill/voicemill/scheduler/internal/storetest"
)

func TestMain(m *testing.M) { testkit.Main(m) }

type bench struct {
	*storetest.Base
	bus    *bus.Bus
	sender *outbox.Sender
}

func newBench(t *testing.T, change func(*outbox.Config)) *bench {
	t.Helper()
	b := &bench{Base: storetest.New(t), bus: testkit.NATS(t)}
	cfg := outbox.DefaultConfig()
	if change != nil {
		change(&cfg)
	}
	require.NoError(t, cfg.Validate())
	b.sender = outbox.New(cfg, b.Store, b.bus, testkit.Log(t))
	return b
}

func (b *bench) run(t *testing.T) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- b.sender.Run(ctx) }()
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

// due makes a job whose only chapter is due for joining.
func (b *bench) due(t *testing.T) job.ID {
	t.Helper()
	id := b.Queue(t, storetest.Tenant, job.Spec{}, 2)
	b.Exec(t, `update segments set state = 'released', attempt = 1, released_at = now() where job_id = $1`, id)
	require.True(t, b.Done(t, id, 1, 1))
	b.sender.Hint()
	return id
}

func (b *bench) fetch(t *testing.T, n int) []bus.Delivery[bus.Assembly] {
	t.Helper()
	var all []bus.Delivery[bus.Assembly]
	for len(all) < n {
		got, err := b.bus.FetchAssembly(t.Context(), n-len(all), time.Minute)
		require.NoError(t, err)
		require.NotEmpty(t, got)
		all = append(all, got...)
	}
	return all
}

func (b *bench) finish(t *testing.T, d bus.Delivery[bus.Assembly]) {
	t.Helper()
	b.Exec(t, `delete from outbox where job_id = $1 and ordinal = $2`, d.Value.JobID, d.Value.Ordinal)
	require.NoError(t, d.Ack(t.Context()))
	b.sender.Hint()
}

func TestADueRowIsSent(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil)
	b.run(t)
	id := b.due(t)
	got := b.fetch(t, 1)[0]
	require.Equal(t, bus.Assembly{JobID: id, Ordinal: 1, Attempt: 1}, got.Value)
	b.finish(t, got)
	// The end of the job follows once its chapters are ready.
	b.Exec(t, `update chapters set state = 'ready', object_key = 'x', proof_digest = plan_digest where job_id = $1`, id)
	b.Exec(t, `update jobs set chapters_ready = 1 where id = $1`, id)
	b.Exec(t, `select advance_job($1)`, id)
	b.sender.Hint()
	require.Equal(t, bus.Assembly{JobID: id, Ordinal: 0, Attempt: 1}, b.fetch(t, 1)[0].Value)
}

func TestAtMostAWindowIsOut(t *testing.T) {
	t.Parallel()
	b := newBench(t, func(c *outbox.Config) { c.Window = 3 })
	for range 8 {
		b.due(t)
	}
	b.run(t)
	for range 8 {
		got := b.fetch(t, 1)
		require.LessOrEqual(t, b.Count(t, `select count(*) from outbox where released_at is not null`), 3)
		b.finish(t, got[0])
	}
	require.Zero(t, b.Count(t, `select count(*) from outbox`))
}

func TestARowThatIsNotDueYetWaits(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil)
	id := b.due(t)
	start := time.Now()
	b.Exec(t, `update outbox set not_before = now() + interval '500 ms' where job_id = $1`, id)
	b.run(t)
	b.fetch(t, 1)
	require.GreaterOrEqual(t, time.Since(start), 400*time.Millisecond)
}

func TestNothingOfACancelledJobIsSent(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil)
	id := b.due(t)
	b.Cancel(t, id)
	b.run(t)
	got, err := b.bus.FetchAssembly(t.Context(), 1, 500*time.Millisecond)
	require.NoError(t, err)
	require.Empty(t, got)
}

func TestAMarkWithoutAMessageIsSentAfterARestart(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil)
	id := b.due(t)
	b.Exec(t, `update outbox set released_at = now(), attempt = 1 where job_id = $1`, id)
	b.run(t)
	require.Equal(t, 1, b.fetch(t, 1)[0].Value.Attempt)
}

func TestTheSweepSendsALostMessageAgain(t *testing.T) {
	t.Parallel()
	b := newBench(t, func(c *outbox.Config) { c.SweepAfter, c.Tick = 400*time.Millisecond, 50*time.Millisecond })
	b.run(t)
	b.due(t)
	require.NoError(t, b.fetch(t, 1)[0].Ack(t.Context())) // acknowledged, but the row is still there
	again := b.fetch(t, 1)[0]
	require.Equal(t, 1, again.Value.Attempt)
	b.finish(t, again)
	got, err := b.bus.FetchAssembly(t.Context(), 1, 600*time.Millisecond)
	require.NoError(t, err)
	require.Empty(t, got)
}
