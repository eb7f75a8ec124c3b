package scheduler_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/platform/blob"
	"github.com/voicemill/voicemill/platform/bus"
	"github.com/voicemill/voicemill/platform/config"
	"github.com/voicemill/voicemill/platform/telemetry"
	"github.com/voicemill/voicemill/platform/testkit"
	"github.com/voicemill/voicemill/scheduler"
	"github.com/voicemill/voicemill/scheduler/internal/storetest"
)

func TestMain(m *testing.M) {
	if code, child := scheduler.ServeChild(os.Args, os.Stdin, os.Stdout); child {
		os.Exit(code)
	}
	testkit.Main(m)
}

// bench is a scheduler on real parts, with the gateway and the worker played
// by the test.
type bench struct {
	*storetest.Base
	deps scheduler.Deps
	cfg  scheduler.Config
}

func newBench(t *testing.T) *bench {
	t.Helper()
	base := storetest.New(t)
	b := &bench{Base: base, cfg: scheduler.DefaultConfig()}
	b.cfg.Callback.AllowPrivate = true
	b.deps = scheduler.Deps{
		Log: testkit.Log(t), Registry: telemetry.NewRegistry(), Bus: testkit.NATS(t), DB: base.DB, Blob: testkit.S3(t), Random: rand.Reader,
	}
	return b
}

func (b *bench) run(t *testing.T) (stop func()) {
	t.Helper()
	deps := b.deps
	deps.Registry = telemetry.NewRegistry()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	ready := make(chan struct{})
	deps.Ready = func() { close(ready) }
	go func() { done <- scheduler.Run(ctx, b.cfg, deps) }()
	var once sync.Once
	stop = func() {
		once.Do(func() {
			cancel()
			require.NoError(t, <-done)
		})
	}
	t.Cleanup(stop)
	<-ready
	return stop
}

func (b *bench) accept(t *testing.T, jobs ...bus.AcceptedJob) {
	t.Helper()
	data, err := json.Marshal(bus.Envelope{Jobs: jobs})
	require.NoError(t, err)
	require.NoError(t, b.deps.Bus.PublishEnvelope(t.Context(), data))
}

// speak plays the worker until the job is final or the test's patience ends.
func (b *bench) speak(t *testing.T, id job.ID, class job.Class) {
	t.Helper()
	deadline := time.Now().Add(time.Minute)
	for time.Now().Before(deadline) {
		b.deps.Bus.TellCapacity(bus.Capacity{Worker: "test", Pool: storetest.Pool, Slots: 32, Batch: 16, Static: true, Goodput: 100})
		got, err := b.deps.Bus.FetchWork(t.Context(), storetest.Pool, class, 16, 50*time.Millisecond)
		require.NoError(t, err)
		for _, d := range got {
			for _, g := range d.Value.Segments {
				b.Done(t, d.Value.JobID, g.N, d.Value.Attempt)
			}
			require.NoError(t, d.Ack(t.Context()))
			b.deps.Bus.Hint(d.Value.JobID, 1)
		}
		joins, err := b.deps.Bus.FetchAssembly(t.Context(), class, 16, 50*time.Millisecond)
		require.NoError(t, err)
		for _, d := range joins {
			b.join(t, d.Value)
			require.NoError(t, d.Ack(t.Context()))
			b.deps.Bus.Hint(d.Value.JobID, 1)
		}
		if b.Count(t, `select count(*) from jobs where id = $1 and finished_at is not null`, id) == 1 {
			return
		}
	}
	state, kind, detail := b.State(t, id)
	t.Fatalf("job %s is still %s (%s: %s)", id, state, kind, detail)
}

// join plays the assembly of a chapter, or the end of a job.
func (b *bench) join(t *testing.T, a bus.Assembly) {
	t.Helper()
	b.Exec(t, `delete from outbox where job_id = $1 and ordinal = $2`, a.JobID, a.Ordinal)
	if a.Ordinal > 0 {
		b.Exec(t, `update chapters set state = 'ready', object_key = 'x', proof_digest = plan_digest, artifact = 'chapter.wav' where job_id = $1 and ordinal = $2`, a.JobID, a.Ordinal)
		b.Exec(t, `update jobs set chapters_ready = chapters_ready + 1, version = version + 1 where id = $1`, a.JobID)
		b.Exec(t, `select advance_job($1)`, a.JobID)
		return
	}
	b.Exec(t, `with ended as (
    update jobs set state = 'succeeded', proof_digest = plan_digest, finished_at = now(), version = version + 1
    where id = $1 and state = 'assembling' returning id, tenant_id, spec)
insert into deliveries (id, tenant_id, job_id, event, url, payload)
select 'dlv_' || id, tenant_id, id, 'job.succeeded', spec -> 'callback' ->> 'url', '' from ended where spec -> 'callback' ->> 'url' is not null`, a.JobID)
}

func TestAJobGoesAllTheWay(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	events := make(chan string, 10)
	receiver := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		events <- string(body)
	}))
	defer receiver.Close()
	b.run(t)
	text := strings.Repeat("A sentence of the book, neither long nor short. ", 60) + "\n\n" + strings.Repeat("Another one. ", 30)
	info, err := b.deps.Blob.Put(t.Context(), "uploads/default/upl_1", strings.NewReader(text), int64(len(text)), blob.PutOptions{ContentType: job.MediaText})
	require.NoError(t, err)
	a := b.Accepted(t, storetest.Tenant, job.Spec{
		Input:    job.Input{Upload: "upl_1", Media: job.MediaText},
		Callback: &job.Callback{URL: receiver.URL, Events: []string{job.EventStarted, job.EventSucceeded}},
	})
	a.SourceKey, a.SourceETag = "uploads/default/upl_1", info.ETag
	b.accept(t, a)
	b.accept(t, a) // the gateway was not sure and sent it again
	b.speak(t, a.ID, job.Bulk)
	state, _, _ := b.State(t, a.ID)
	require.Equal(t, job.StateSucceeded, state)
	require.Contains(t, <-events, `"type":"job.started"`)
	last := <-events
	require.Contains(t, last, `"type":"job.succeeded"`)
	require.Contains(t, last, string(a.ID))
}

func TestWhatWasAcceptedWhileTheSchedulerWasDownIsDone(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	var ids []job.ID
	for i := range 50 {
		a := b.Accepted(t, storetest.Tenant, job.Spec{Input: job.Input{Text: fmt.Sprintf("Number %d.", i)}, Class: job.Interactive})
		ids = append(ids, a.ID)
		b.accept(t, a)
	}
	b.run(t)
	for _, id := range ids {
		b.speak(t, id, job.Interactive)
	}
}

// A scheduler that stops in the middle and another that goes on lose nothing.
func TestAnotherSchedulerTakesOver(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	first := b.run(t)
	b.run(t) // stands by
	a := b.Accepted(t, storetest.Tenant, job.Spec{Input: job.Input{Text: strings.Repeat("A sentence of the book. ", 200)}})
	b.accept(t, a)
	require.Eventually(t, func() bool {
		b.deps.Bus.TellCapacity(bus.Capacity{Worker: "test", Pool: storetest.Pool, Slots: 4, Batch: 2})
		return b.Count(t, `select count(*) from outstanding`) > 0
	}, time.Minute, 20*time.Millisecond)
	first()
	b.speak(t, a.ID, job.Bulk)
}

func TestStopTwiceIsOneStop(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	stop := b.run(t)
	start := time.Now()
	stop()
	stop()
	require.Less(t, time.Since(start), 2*b.cfg.Grace)
}

func TestAWrongSettingIsNamed(t *testing.T) {
	t.Parallel()
	for says, change := range map[string]func(*scheduler.Config){
		"bundle-seconds":    func(c *scheduler.Config) { c.Release.BundleSeconds = 0 },
		"waiting":           func(c *scheduler.Config) { c.Release.Waiting = 1 },
		"lease (20s)":       func(c *scheduler.Config) { c.Callback.Lease = 20 * time.Second },
		"crashes (1)":       func(c *scheduler.Config) { c.Plan.Crashes = 1 },
		"backoff-max (1ms)": func(c *scheduler.Config) { c.Plan.BackoffMax = time.Millisecond },
		"promised":          func(c *scheduler.Config) { c.Housekeeping.IdempotencyKeys = time.Hour },
		"grace (1s)":        func(c *scheduler.Config) { c.Grace = time.Second },
		"segment_seconds":   func(c *scheduler.Config) { c.Limits = job.DefaultLimits(); c.Limits.SegmentSeconds = 0 },
	} {
		cfg := scheduler.DefaultConfig()
		change(&cfg)
		require.ErrorContains(t, scheduler.Run(t.Context(), cfg, scheduler.Deps{}), says)
	}
	require.ErrorContains(t, scheduler.Run(t.Context(), scheduler.DefaultConfig(), scheduler.Deps{}), "needed")
}

// The defaults are written twice, in tags for the command line and in Go.
func TestTheTagsNameTheDefaults(t *testing.T) {
	t.Parallel()
	var cfg scheduler.Config
	_, err := config.Parse(&cfg, config.Source{Name: "scheduler"})
	require.NoError(t, err)
	cfg.Limits = job.DefaultLimits()
	require.Equal(t, scheduler.DefaultConfig(), cfg)
}

// A bus that is gone for good ends the run with an error that names the part.
func TestAFailedDependencyIsNamed(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	server := testkit.NATSServer(t, t.TempDir())
	deps := b.deps
	deps.Bus = testkit.Bus(t, server, bus.Config{})
	deps.Registry = telemetry.NewRegistry()
	done := make(chan error, 1)
	ready := make(chan struct{})
	deps.Ready = func() { close(ready) }
	go func() { done <- scheduler.Run(t.Context(), b.cfg, deps) }()
	<-ready
	deps.Bus.Close()
	require.Regexp(t, "^(hints|notes): ", (<-done).Error(), "whichever hears of it first")
}

func TestMetricsAreThere(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	deps := b.deps
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- scheduler.Run(ctx, b.cfg, deps) }()
	a := b.Accepted(t, storetest.Tenant, job.Spec{Input: job.Input{Text: "Count me."}})
	b.accept(t, a)
	b.speak(t, a.ID, job.Bulk)
	cancel()
	require.NoError(t, <-done)
	var out bytes.Buffer
	require.NoError(t, deps.Registry.Write(&out))
	for _, line := range []string{
		`voicemill_scheduler_jobs_stored_total{state="accepted"} 1`,
		`voicemill_scheduler_released_segments_total{class="bulk",pool="espeak"} 1`,
		`voicemill_scheduler_plan_duration_seconds_count{outcome="queued"} 1`,
		`voicemill_scheduler_envelope_jobs_count 1`,
	} {
		require.Contains(t, out.String(), line)
	}
}

func TestWhatHasNotHappenedIsZero(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- scheduler.Run(ctx, b.cfg, b.deps) }()
	text := func() string {
		var out bytes.Buffer
		require.NoError(t, b.deps.Registry.Write(&out))
		return out.String()
	}
	require.Eventually(t, func() bool {
		return strings.Contains(text(), `voicemill_scheduler_backlog_seconds{class="bulk",pool="espeak"} 0`)
	},
		time.Minute, 10*time.Millisecond, "a pool without work has a backlog of nothing")
	for _, line := range []string{
		`voicemill_scheduler_leader 1`,
		`voicemill_scheduler_callback_attempts_total{outcome="failed"} 0`,
		`voicemill_scheduler_callback_attempts_total{outcome="retrying"} 0`,
		`voicemill_scheduler_plan_duration_seconds_count{outcome="internal"} 0`,
		`voicemill_scheduler_plan_duration_seconds_count{outcome="queued"} 0`,
		`voicemill_scheduler_jobs_stored_total{state="failed"} 0`,
		`voicemill_scheduler_planned_segments_total{kind="render"} 0`,
		`voicemill_scheduler_released_segments_total{class="interactive",pool="espeak"} 0`,
		`voicemill_scheduler_backlog_gpu_seconds{class="interactive",pool="espeak"} 0`,
		`voicemill_scheduler_oldest_waiting_seconds{class="bulk",pool="espeak"} 0`,
		`voicemill_scheduler_desired_replicas{pool="espeak"} 0`,
		`voicemill_scheduler_pool_replicas{pool="espeak"} 0`,
	} {
		require.Contains(t, text(), line)
	}
	cancel()
	require.NoError(t, <-done)
}
