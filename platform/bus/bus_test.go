package bus_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/platform/bus"
	"github.com/voicemill/voicemill/platform/testkit"
)

func TestMain(m *testing.M) { testkit.Main(m) }

func work(n int) bus.Work {
	return bus.Work{
		JobID: "job_a", N: n, Chapter: 1, Attempt: 1, Tenant: "default", Pool: "espeak", Voice: "en", Language: "en",
		Text: "Hello.", Speed: 1, PredictedSeconds: 1, RenditionKey: "k", SampleRate: 22050, Class: job.Bulk,
	}
}

func works(n int) []bus.Work {
	items := make([]bus.Work, n)
	for i := range items {
		items[i] = work(i + 1)
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
	require.Len(t, before, 4, "two streams and two consumers")
	testkit.Bus(t, s, bus.Config{})
	require.Equal(t, before, settings(t, dir), "nothing changed, so nothing is written")
	testkit.Bus(t, s, bus.Config{JobsBytes: 64 << 20, AckWait: 7 * time.Second})
	for name, old := range settings(t, dir) {
		require.Equal(t, filepath.Base(filepath.Dir(name)) == bus.StreamWork, old.Equal(before[name]), name)
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

func TestReleasingASegmentTwiceLeavesOneMessage(t *testing.T) {
	t.Parallel()
	b := testkit.NATS(t)
	for range 2 {
		for i, err := range b.PublishWork(t.Context(), works(5)) {
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
	b.PublishWork(t.Context(), works(3))
	begin := time.Now()
	got, err := b.FetchWork(t.Context(), "espeak", job.Bulk, 16, time.Minute)
	require.NoError(t, err)
	require.Len(t, got, 3)
	require.Less(t, time.Since(begin), 30*time.Second)
	for i, d := range got {
		require.Equal(t, work(i+1), d.Value)
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
	now := work(1)
	now.Class = job.Interactive
	for _, err := range b.PublishWork(t.Context(), []bus.Work{now, work(2)}) {
		require.NoError(t, err)
	}
	got, err := b.FetchWork(t.Context(), "espeak", job.Interactive, 16, 0)
	require.NoError(t, err)
	require.Len(t, got, 1)
	require.Equal(t, 1, got[0].Value.N)
}

func TestNakBringsAMessageBackAtOnceAndSilenceAfterAckWait(t *testing.T) {
	t.Parallel()
	s := testkit.NATSServer(t, t.TempDir())
	b := testkit.Bus(t, s, bus.Config{AckWait: time.Second})
	b.PublishWork(t.Context(), works(1))
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

func TestPurgedWorkIsNotDelivered(t *testing.T) {
	t.Parallel()
	b := testkit.NATS(t)
	b.PublishWork(t.Context(), works(40))
	require.NoError(t, b.PurgeWork(t.Context(), works(39)))
	got, err := b.FetchWork(t.Context(), "espeak", job.Bulk, 64, 0)
	require.NoError(t, err)
	require.Len(t, got, 1)
	require.Equal(t, 40, got[0].Value.N)
}

func TestAFullStreamIsOverloaded(t *testing.T) {
	t.Parallel()
	s := testkit.NATSServer(t, t.TempDir())
	b := testkit.Bus(t, s, bus.Config{WorkMsgs: 3, JobsBytes: 2 * bus.MaxMessageBytes})
	errs := b.PublishWork(t.Context(), works(4))
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
func publishAll(ctx context.Context, b *bus.Bus, items []bus.Work) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for {
		errs := b.PublishWork(ctx, items)
		var failed []bus.Work
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
			items := works(300)
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

func TestAckedWorkStaysGoneOverARestart(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := testkit.NATSServer(t, dir)
	b := testkit.Bus(t, s, bus.Config{})
	b.PublishWork(t.Context(), works(10))
	got, err := b.FetchWork(t.Context(), "espeak", job.Bulk, 5, 0)
	require.NoError(t, err)
	for _, d := range got {
		require.NoError(t, d.Ack(t.Context()))
	}
	b.Close()
	s.Stop()
	b = testkit.Bus(t, testkit.NATSServer(t, dir), bus.Config{})
	got, err = b.FetchWork(t.Context(), "espeak", job.Bulk, 64, 0)
	require.NoError(t, err)
	require.Len(t, got, 5)
	require.Equal(t, 6, got[0].Value.N)
}

func TestCallsFailAtOnceWhileTheServerIsAway(t *testing.T) {
	t.Parallel()
	s := testkit.NATSServer(t, t.TempDir())
	b := testkit.Bus(t, s, bus.Config{})
	s.Stop()
	require.Eventually(t, func() bool { return !b.Healthy() }, 10*time.Second, time.Millisecond)
	require.Equal(t, job.Unavailable, job.KindOf(b.PublishEnvelope(t.Context(), envelope(t, "job_a"))))
	require.Equal(t, job.Unavailable, job.KindOf(b.PublishWork(t.Context(), works(1))[0]))
	require.Equal(t, job.Unavailable, job.KindOf(b.Ready(t.Context())))
	b.Hint("job_a", 1)
}

func TestHintsReachWhoListens(t *testing.T) {
	t.Parallel()
	s := testkit.NATSServer(t, t.TempDir())
	a, b := testkit.Bus(t, s, bus.Config{}), testkit.Bus(t, s, bus.Config{})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	heard := make(chan int64, 100)
	ended := make(chan error, 1)
	go func() {
		ended <- b.Hints(ctx, func(id job.ID, version int64) {
			require.Equal(t, job.ID("job_a"), id)
			select {
			case heard <- version:
			default:
			}
		})
	}()
	require.Eventually(t, func() bool { a.Hint("job_a", 7); return len(heard) > 0 }, 10*time.Second, time.Millisecond)
	require.EqualValues(t, 7, <-heard)
	cancel()
	require.NoError(t, <-ended)
}

func TestTheIntakeIsProbedWithoutATrace(t *testing.T) {
	t.Parallel()
	s := testkit.NATSServer(t, t.TempDir())
	b := testkit.Bus(t, s, bus.Config{JobsBytes: 2 * bus.MaxMessageBytes})
	for range 3 {
		require.NoError(t, b.ProbeIntake(t.Context()))
	}
	nc, err := nats.Connect("", nats.InProcessServer(s))
	require.NoError(t, err)
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	require.NoError(t, err)
	stream, err := js.Stream(t.Context(), bus.StreamJobs)
	require.NoError(t, err)
	require.EqualValues(t, 1, stream.CachedInfo().State.Msgs, "each takes the place of the one before")

	for err == nil {
		err = b.PublishEnvelope(t.Context(), make([]byte, bus.MaxMessageBytes/3))
	}
	for i := bus.MaxMessageBytes / 3; i > 0; i /= 2 { // to the last bytes
		_ = b.PublishEnvelope(t.Context(), make([]byte, i))
	}
	require.Equal(t, job.Overloaded, job.KindOf(b.ProbeIntake(t.Context())))
}
