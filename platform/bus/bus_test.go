package bus_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/platform/bus"
	"github.com/voicemill/voicemill/platform/embed/natsd"
	"github.com/voicemill/voicemill/platform/testkit"
)

// A server of a cluster that is shut down while a replica reaches it can leave
// the replica's store running, and the clock that the store shares: seen once
// with NATS 2.15.2. What is ours has no such goroutine.
func TestMain(m *testing.M) {
	const nats = "github.com/nats-io/nats-server/v2/server"
	testkit.Main(m, goleak.IgnoreTopFunction(nats+".(*fileStore).flushStreamStateLoop"),
		goleak.IgnoreTopFunction(nats+"/ats.Register.func1"))
}

func bundle(n int) bus.Bundle {
	return bus.Bundle{
		JobID: "job_a", Job: 1, Attempt: 1, Tenant: "default", Class: job.Bulk, Pool: "espeak", Speed: 1,
		Segments: []bus.Segment{{N: n, Chapter: 1, Voice: "en", Language: "en", Text: "Hello.", PredictedSeconds: 1, RenditionKey: "k", SampleRate: 22050}},
	}
}

func bundles(n int) []bus.Bundle {
	items := make([]bus.Bundle, n)
	for i := range items {
		items[i] = bundle(i + 1)
	}
	return items
}

func envelope(t *testing.T, ids ...string) []byte {
	t.Helper()
	var e bus.Envelope
	for _, id := range ids {
		e.Jobs = append(e.Jobs, bus.AcceptedJob{ID: job.ID(id), Tenant: "default", AcceptedAt: time.Unix(1, 0).UTC()})
	}
	data, err := json.Marshal(e)
	require.NoError(t, err)
	return data
}

func TestSetupTwiceIsHarmless(t *testing.T) {
	t.Parallel()
	b := testkit.NATS(t)
	require.NoError(t, b.Setup(t.Context()))
	require.NoError(t, b.Ready(t.Context()))
}

func TestSetupWritesOnlyWhatChanged(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := testkit.NATSServer(t, dir)
	testkit.Bus(t, s, bus.Config{})
	nc, err := nats.Connect("", nats.InProcessServer(s))
	require.NoError(t, err)
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	require.NoError(t, err)
	stream, err := js.Stream(t.Context(), bus.StreamJobs)
	require.NoError(t, err)
	cfg := stream.CachedInfo().Config
	cfg.Metadata["owner"] = "audio"
	_, err = js.UpdateStream(t.Context(), cfg)
	require.NoError(t, err)

	before := settings(t, dir)
	require.Len(t, before, 3, "JOBS, its consumer, and PARKED; WORK leaves nothing on disk")
	testkit.Bus(t, s, bus.Config{})
	require.Equal(t, before, settings(t, dir), "nothing changed, so nothing is written")
	testkit.Bus(t, s, bus.Config{JobsBytes: 64 << 20, ParkedBytes: 8 << 20, AckWait: 7 * time.Second})
	for name, at := range settings(t, dir) {
		require.True(t, at.After(before[name]), name)
	}
	info, err := stream.Info(t.Context())
	require.NoError(t, err)
	require.EqualValues(t, 64<<20, info.Config.MaxBytes)
	require.Equal(t, "audio", info.Config.Metadata["owner"], "what an operator added stays")
}

// settings returns when the server wrote the settings of each stream and consumer.
func settings(t *testing.T, dir string) map[string]time.Time {
	t.Helper()
	all := map[string]time.Time{}
	require.NoError(t, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.Name() != "meta.inf" {
			return err
		}
		st, err := d.Info()
		if err == nil {
			all[path] = st.ModTime()
		}
		return err
	}))
	return all
}

func TestReleasingABundleTwiceLeavesOneMessage(t *testing.T) {
	t.Parallel()
	b := testkit.NATS(t)
	for range 2 {
		for i, err := range b.PublishWork(t.Context(), bundles(5)) {
			require.NoError(t, err, "item %d", i)
		}
	}
	pending, ackPending, err := b.WorkPending(t.Context(), "espeak", job.Bulk)
	require.NoError(t, err)
	require.Equal(t, 5, pending)
	require.Zero(t, ackPending)
	require.EqualValues(t, 5, b.Stats().Duplicates)
}

func TestFetchReturnsWhatIsThereWithoutWaitingForMore(t *testing.T) {
	t.Parallel()
	b := testkit.NATS(t)
	b.PublishWork(t.Context(), bundles(3))
	begin := time.Now()
	got, err := b.FetchWork(t.Context(), "espeak", job.Bulk, 16, time.Minute)
	require.NoError(t, err)
	require.Len(t, got, 3)
	require.Less(t, time.Since(begin), 30*time.Second)
	for i, d := range got {
		require.Equal(t, bundle(i+1), d.Value)
		require.Equal(t, 1, d.Deliveries)
		require.NoError(t, d.Ack(t.Context()))
	}
	got, err = b.FetchWork(t.Context(), "espeak", job.Bulk, 16, 0)
	require.NoError(t, err)
	require.Empty(t, got)
}

func TestLanesArePulledSeparately(t *testing.T) {
	t.Parallel()
	b := testkit.NATS(t)
	now := bundle(1)
	now.Class = job.Interactive
	for _, err := range b.PublishWork(t.Context(), []bus.Bundle{now, bundle(2)}) {
		require.NoError(t, err)
	}
	got, err := b.FetchWork(t.Context(), "espeak", job.Interactive, 16, 0)
	require.NoError(t, err)
	require.Len(t, got, 1)
	require.Equal(t, 1, got[0].Value.N())
}

func TestNakBringsAMessageBackAtOnceAndSilenceAfterAckWait(t *testing.T) {
	t.Parallel()
	s := testkit.NATSServer(t, t.TempDir())
	b := testkit.Bus(t, s, bus.Config{AckWait: time.Second})
	b.PublishWork(t.Context(), bundles(1))
	for want := 1; want <= 3; want++ {
		got, err := b.FetchWork(t.Context(), "espeak", job.Bulk, 1, time.Minute)
		require.NoError(t, err)
		require.Len(t, got, 1)
		require.Equal(t, want, got[0].Deliveries)
		if want == 1 {
			require.NoError(t, got[0].Nak())
		}
	}
}

func TestFetchEndsWithItsContext(t *testing.T) {
	t.Parallel()
	b := testkit.NATS(t)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	begin := time.Now()
	_, err := b.FetchWork(ctx, "espeak", job.Bulk, 1, time.Minute)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.Less(t, time.Since(begin), 30*time.Second)
}

func TestNothingOfAPurgedJobIsDelivered(t *testing.T) {
	t.Parallel()
	b := testkit.NATS(t)
	other := bundle(40)
	other.JobID = "job_b"
	again := bundle(1)
	again.Attempt, again.Class = 2, job.Interactive
	require.NoError(t, errors.Join(b.PublishWork(t.Context(), append(bundles(39), other, again))...))
	require.NoError(t, errors.Join(b.PublishAssembly(t.Context(), []bus.Assembly{{JobID: "job_a", Ordinal: 1, Attempt: 1, Class: job.Bulk}})...))
	require.NoError(t, b.PurgeJob(t.Context(), "job_a"))
	got, err := b.FetchWork(t.Context(), "espeak", job.Bulk, 64, 0)
	require.NoError(t, err)
	require.Len(t, got, 1)
	require.Equal(t, job.ID("job_b"), got[0].Value.JobID)
	got, err = b.FetchWork(t.Context(), "espeak", job.Interactive, 64, 0)
	require.NoError(t, err)
	require.Empty(t, got)
	joins, err := b.FetchAssembly(t.Context(), job.Bulk, 64, 0)
	require.NoError(t, err)
	require.Empty(t, joins)
	require.Equal(t, job.Invalid, job.KindOf(b.PurgeJob(t.Context(), "*")))
}

func TestJoinsArePulledByClass(t *testing.T) {
	t.Parallel()
	b := testkit.NATS(t)
	now := bus.Assembly{JobID: "job_a", Ordinal: 1, Attempt: 1, Class: job.Interactive}
	book := bus.Assembly{JobID: "job_b", Ordinal: 0, Attempt: 3, Class: job.Bulk}
	for range 2 {
		require.NoError(t, errors.Join(b.PublishAssembly(t.Context(), []bus.Assembly{book, now})...))
	}
	for class, want := range map[job.Class]bus.Assembly{job.Interactive: now, job.Bulk: book} {
		got, err := b.FetchAssembly(t.Context(), class, 16, 0)
		require.NoError(t, err)
		require.Len(t, got, 1)
		require.Equal(t, want, got[0].Value)
	}
}

func TestAFullStreamIsOverloaded(t *testing.T) {
	t.Parallel()
	s := testkit.NATSServer(t, t.TempDir())
	b := testkit.Bus(t, s, bus.Config{WorkMsgs: 3, JobsBytes: 2 * bus.MaxMessageBytes})
	errs := b.PublishWork(t.Context(), bundles(4))
	require.NoError(t, errors.Join(errs[:3]...))
	require.Equal(t, job.Overloaded, job.KindOf(errs[3]))

	big := make([]byte, bus.MaxMessageBytes-100)
	require.NoError(t, b.PublishEnvelope(t.Context(), big))
	require.NoError(t, b.PublishEnvelope(t.Context(), make([]byte, 1000)))
	require.Equal(t, job.Overloaded, job.KindOf(b.PublishEnvelope(t.Context(), big)))
	require.Equal(t, job.TooLarge, job.KindOf(b.PublishEnvelope(t.Context(), make([]byte, bus.MaxMessageBytes+1))))
}

// publishAll publishes again what a slow machine did not acknowledge in time,
// within a minute.
func publishAll(ctx context.Context, b *bus.Bus, items []bus.Bundle) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for {
		errs := b.PublishWork(ctx, items)
		var failed []bus.Bundle
		for i, err := range errs {
			if err != nil {
				failed = append(failed, items[i])
			}
		}
		if len(failed) == 0 || ctx.Err() != nil {
			return errors.Join(errs...)
		}
		items = failed
	}
}

func TestManyPublishersShareTheirTokens(t *testing.T) {
	t.Parallel()
	b := testkit.NATS(t)
	done := make(chan error, 8)
	for p := range cap(done) {
		go func() {
			items := bundles(300)
			for i := range items {
				items[i].JobID = job.ID(fmt.Sprintf("job_%d", p))
			}
			done <- publishAll(t.Context(), b, items)
		}()
	}
	for range cap(done) {
		require.NoError(t, <-done)
	}
	pending, _, err := b.WorkPending(t.Context(), "espeak", job.Bulk)
	require.NoError(t, err)
	require.Equal(t, 8*300, pending)
}

func TestAnEnvelopeComesUntilItIsTaken(t *testing.T) {
	t.Parallel()
	b := testkit.NATS(t)
	require.NoError(t, b.PublishEnvelope(t.Context(), []byte(`{"jobs":[{"id":1}]}`)))
	require.NoError(t, b.PublishEnvelope(t.Context(), []byte(`{"jobs":[]}`)))
	require.NoError(t, b.PublishEnvelope(t.Context(), envelope(t, "job_a", "job_b")))
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	calls := 0
	err := b.Envelopes(ctx, func(_ context.Context, e bus.Envelope) error {
		require.Len(t, e.Jobs, 2)
		if calls++; calls < 3 {
			return errors.New("the database is away")
		}
		cancel()
		return nil
	})
	require.NoError(t, err)
	require.Equal(t, 3, calls)
	require.EqualValues(t, 2, b.Stats().Malformed)
}

func TestWorkThatEndedWithItsServerIsNoticedAndMadeAnew(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := testkit.NATSServer(t, dir)
	b := testkit.Bus(t, s, bus.Config{})
	before, err := b.MarkWork(t.Context())
	require.NoError(t, err)
	require.NoError(t, errors.Join(b.PublishWork(t.Context(), bundles(10))...))
	require.NoError(t, b.PublishEnvelope(t.Context(), envelope(t, "job_a")))
	filled, err := b.MarkWork(t.Context())
	require.NoError(t, err)
	require.False(t, filled.LostSince(before))
	b.Close()
	s.Stop()

	s = testkit.NATSServer(t, dir)
	b, err = bus.Connect(t.Context(), bus.Config{}, testkit.Log(t), bus.InProcess(s))
	require.NoError(t, err)
	t.Cleanup(b.Close)
	after, err := b.MarkWork(t.Context())
	require.NoError(t, err)
	require.True(t, after.LostSince(filled))
	require.NoError(t, errors.Join(b.PublishWork(t.Context(), bundles(10))...))
	got, err := b.FetchWork(t.Context(), "espeak", job.Bulk, 64, 0)
	require.NoError(t, err)
	require.Len(t, got, 10)
	again, err := b.MarkWork(t.Context())
	require.NoError(t, err)
	require.False(t, again.LostSince(after))

	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var stored []bus.AcceptedJob
	require.NoError(t, b.Envelopes(ctx, func(_ context.Context, e bus.Envelope) error { stored = e.Jobs; cancel(); return nil }))
	require.Len(t, stored, 1, "JOBS outlives its server")
}

func TestAWorkerFindsWorkAgainAfterItsServerCameBack(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	server := listening(t, dir, "127.0.0.1:0")
	url := server.URL()
	b, err := bus.Connect(t.Context(), bus.Config{URL: url}, testkit.Log(t))
	require.NoError(t, err)
	t.Cleanup(b.Close)
	require.NoError(t, b.Setup(t.Context()))
	require.NoError(t, errors.Join(b.PublishWork(t.Context(), bundles(10))...))
	got, err := b.FetchWork(t.Context(), "espeak", job.Bulk, 4, time.Minute)
	require.NoError(t, err)
	require.Len(t, got, 4)
	before, err := b.MarkWork(t.Context())
	require.NoError(t, err)
	server.Stop()
	listening(t, dir, strings.TrimPrefix(url, "nats://"))
	require.Eventually(t, func() bool {
		after, err := b.MarkWork(t.Context())
		return err == nil && after.LostSince(before)
	}, time.Minute, 10*time.Millisecond)
	require.NoError(t, errors.Join(b.PublishWork(t.Context(), bundles(10))...))
	var all int
	require.Eventually(t, func() bool {
		got, err := b.FetchWork(t.Context(), "espeak", job.Bulk, 16, 100*time.Millisecond)
		all += len(got)
		return err == nil && all == 10
	}, time.Minute, 10*time.Millisecond)
}

// listening returns a server that takes connections from outside.
// streams returns a client of the test's own on s.
func streams(t *testing.T, s *natsd.Server) jetstream.JetStream {
	t.Helper()
	nc, err := nats.Connect("", nats.InProcessServer(s))
	require.NoError(t, err)
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	require.NoError(t, err)
	return js
}

// An acknowledgement names its message by a number, and a stream that is made
// anew would count from one again.
func TestALateAckHitsNoMessageOfTheNextLifeOfWork(t *testing.T) {
	t.Parallel()
	for name, lose := range map[string]func(context.Context, jetstream.JetStream, *bus.Bus) error{
		"made anew": func(ctx context.Context, js jetstream.JetStream, b *bus.Bus) error {
			if err := js.DeleteStream(ctx, bus.StreamWork); err != nil {
				return err
			}
			_, err := b.MarkWork(ctx)
			return err
		},
		"there and empty": func(ctx context.Context, _ jetstream.JetStream, b *bus.Bus) error {
			_, err := b.RenewWork(ctx)
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := testkit.NATSServer(t, t.TempDir())
			b := testkit.Bus(t, s, bus.Config{AckWait: time.Second})
			require.NoError(t, publishAll(t.Context(), b, bundles(3)))
			old, err := b.FetchWork(t.Context(), "espeak", job.Bulk, 3, time.Minute)
			require.NoError(t, err)
			require.Len(t, old, 3)
			require.NoError(t, lose(t.Context(), streams(t, s), b))
			require.NoError(t, publishAll(t.Context(), b, bundles(3)))
			var again []bus.Delivery[bus.Bundle]
			require.Eventually(t, func() bool { // the consumer is made anew, too
				again, err = b.FetchWork(t.Context(), "espeak", job.Bulk, 3, time.Second)
				return len(again) == 3
			}, time.Minute, 10*time.Millisecond, err)
			for _, d := range old {
				ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
				_ = d.Ack(ctx) // nobody has it
				cancel()
			}
			pending, held, err := b.WorkPending(t.Context(), "espeak", job.Bulk)
			require.NoError(t, err)
			require.Equal(t, []int{0, 3}, []int{pending, held}, "nobody but its receiver ends a message")
			for _, d := range again {
				require.NoError(t, d.Ack(t.Context()))
			}
		})
	}
}

func listening(t *testing.T, dir, address string) *natsd.Server {
	t.Helper()
	s, err := natsd.Start(t.Context(), natsd.Config{StoreDir: dir, Listen: address}, testkit.Log(t))
	require.NoError(t, err)
	t.Cleanup(s.Stop)
	return s
}

func TestWorkThatLiesOnDiskMovesToMemory(t *testing.T) {
	t.Parallel()
	s := testkit.NATSServer(t, t.TempDir())
	nc, err := nats.Connect("", nats.InProcessServer(s))
	require.NoError(t, err)
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	require.NoError(t, err)
	_, err = js.CreateStream(t.Context(), jetstream.StreamConfig{Name: bus.StreamWork, Subjects: []string{"work.>"}, Storage: jetstream.FileStorage})
	require.NoError(t, err)
	testkit.Bus(t, s, bus.Config{})
	stream, err := js.Stream(t.Context(), bus.StreamWork)
	require.NoError(t, err)
	require.Equal(t, jetstream.MemoryStorage, stream.CachedInfo().Config.Storage)
}

func TestCallsFailAtOnceWhileTheServerIsAway(t *testing.T) {
	t.Parallel()
	s := testkit.NATSServer(t, t.TempDir())
	b := testkit.Bus(t, s, bus.Config{})
	s.Stop()
	require.Eventually(t, func() bool { return !b.Healthy() }, 10*time.Second, time.Millisecond)
	require.Equal(t, job.Unavailable, job.KindOf(b.PublishEnvelope(t.Context(), envelope(t, "job_a"))))
	require.Equal(t, job.Unavailable, job.KindOf(b.PublishWork(t.Context(), bundles(1))[0]))
	require.Equal(t, job.Unavailable, job.KindOf(b.Ready(t.Context())))
	b.Hint("job_a", 1)
}

func TestHintsReachWhoListens(t *testing.T) {
	t.Parallel()
	s := testkit.NATSServer(t, t.TempDir())
	a, b := testkit.Bus(t, s, bus.Config{}), testkit.Bus(t, s, bus.Config{})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	heard := make(chan bus.Hinted, 100)
	ended := make(chan error, 1)
	go func() {
		ended <- b.Hints(ctx, func(h bus.Hinted) {
			require.Equal(t, job.ID("job_a"), h.ID)
			select {
			case heard <- h:
			default:
			}
		})
	}()
	require.Eventually(t, func() bool { a.Hint("job_a", 7); return len(heard) > 0 }, 10*time.Second, time.Millisecond)
	require.Equal(t, bus.Hinted{ID: "job_a", Version: 7}, <-heard)
	a.HintQuietly("job_a", 8)
	for h := (bus.Hinted{}); h.Version != 8; h = <-heard {
		require.False(t, h.Quiet)
	}
	cancel()
	require.NoError(t, <-ended)
}

func TestNotesReachWhoListens(t *testing.T) {
	t.Parallel()
	s := testkit.NATSServer(t, t.TempDir())
	a, b := testkit.Bus(t, s, bus.Config{}), testkit.Bus(t, s, bus.Config{})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	settled, reports := make(chan []bus.Settled, 100), make(chan bus.Capacity, 100)
	ended := make(chan error, 1)
	go func() {
		ended <- b.Notes(ctx, func(n []bus.Settled) { settled <- n }, func(c bus.Capacity) { reports <- c })
	}()
	capacity := bus.Capacity{Worker: "w", Pool: "espeak", Slots: 32, Batch: 16, Static: true, Goodput: 15}
	require.Eventually(t, func() bool { a.TellCapacity(capacity); return len(reports) > 0 }, 10*time.Second, time.Millisecond)
	require.Equal(t, capacity, <-reports)
	notes := make([]bus.Settled, bus.MaxSettled+1)
	for i := range notes {
		notes[i] = bus.Settled{Job: 7, N: i + 1, Attempt: 1, Tenant: "default", Class: job.Bulk, Pool: "espeak", Predicted: 3, Actual: 4}
	}
	a.TellSettled(notes)
	require.Equal(t, notes, append(<-settled, <-settled...))
	a.TellCapacity(bus.Capacity{Worker: "w", Pool: "espeak", Goodput: -1}) // nobody can use it, so it does not travel
	cancel()
	require.NoError(t, <-ended)
}

// An envelope that cannot be read holds accepted jobs: it is kept until it can.
func TestAnEnvelopeThatCannotBeReadIsParkedAndReplayed(t *testing.T) {
	t.Parallel()
	b := testkit.NATS(t)
	require.NoError(t, b.PublishEnvelope(t.Context(), []byte(`{"jobs":[{"id":1}]}`)))
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	taken := make(chan job.ID, 10)
	go func() {
		done <- b.Envelopes(ctx, func(_ context.Context, e bus.Envelope) error {
			taken <- e.Jobs[0].ID
			return nil
		})
	}()
	parked := func(n int) {
		t.Helper()
		require.Eventually(t, func() bool {
			got, err := b.Parked(t.Context())
			return err == nil && got == n
		}, time.Minute, 5*time.Millisecond)
	}
	parked(1)
	require.NoError(t, b.Park(t.Context(), bus.Envelope{Jobs: []bus.AcceptedJob{{ID: "job_a", Tenant: "default", AcceptedAt: time.Now()}}}, "no room for it"))
	parked(2)
	n, err := b.Unpark(t.Context())
	require.NoError(t, err)
	require.Equal(t, 1, n, "what still cannot be read stays")
	require.Equal(t, job.ID("job_a"), <-taken)
	parked(1)
	cancel()
	require.NoError(t, <-done)
}

// What cannot be parked stays in JOBS.
func TestNothingIsParkedBeyondTheBound(t *testing.T) {
	t.Parallel()
	s := testkit.NATSServer(t, t.TempDir())
	b := testkit.Bus(t, s, bus.Config{ParkedBytes: 2 * bus.MaxMessageBytes})
	broken := []byte(`{"jobs":[{"id":"` + strings.Repeat("x", 900<<10) + `"}], "from": "a newer gateway"`)
	for range 3 {
		require.NoError(t, b.PublishEnvelope(t.Context(), broken))
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- b.Envelopes(ctx, func(context.Context, bus.Envelope) error { return nil }) }()
	require.Eventually(t, func() bool { return b.Stats().Malformed >= 3 }, time.Minute, 5*time.Millisecond)
	n, err := b.Parked(t.Context())
	require.NoError(t, err)
	require.Equal(t, 2, n)
	jobs, err := streams(t, s).Stream(t.Context(), bus.StreamJobs)
	require.NoError(t, err)
	require.EqualValues(t, 1, jobs.CachedInfo().State.Msgs)
	cancel()
	require.NoError(t, <-done)
}
