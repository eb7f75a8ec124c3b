package deliver_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/platform/blob"
	"github.com/voicemill/voicemill/platform/bus"
	"github.com/voicemill/voicemill/platform/testkit"
	"github.com/voicemill/voicemill/platform/wav"
	"github.com/voicemill/voicemill/worker/internal/deliver"
	"github.com/voicemill/voicemill/worker/internal/engine"
	"github.com/voicemill/voicemill/worker/internal/lease"
	"github.com/voicemill/voicemill/worker/internal/loudness"
	"github.com/voicemill/voicemill/worker/internal/store"
)

func TestMain(m *testing.M) { testkit.Main(m) }

// ledger is a committer that notes outcomes and answers as told.
type ledger struct {
	mu     sync.Mutex
	got    []store.Outcome
	events *[]string
	late   bool
	refuse func(o store.Outcome) error
}

func (l *ledger) Submit(_ context.Context, o store.Outcome) (bool, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	*l.events = append(*l.events, "commit "+string(o.State))
	if l.refuse != nil {
		if err := l.refuse(o); err != nil {
			return false, err
		}
	}
	l.got = append(l.got, o)
	return !l.late, nil
}

type message struct{ events *[]string }

func (m message) Ack(context.Context) error { *m.events = append(*m.events, "ack"); return nil }
func (m message) Nak() error                { *m.events = append(*m.events, "nak"); return nil }
func (m message) InProgress() error         { return nil }

// bucket notes puts, and fails them as told.
type bucket struct {
	*blob.Store
	events *[]string
	fail   error
}

func (b *bucket) Put(ctx context.Context, key string, r io.Reader, size int64, opt blob.PutOptions) (blob.Info, error) {
	*b.events = append(*b.events, "put")
	if b.fail != nil {
		return blob.Info{}, b.fail
	}
	return b.Store.Put(ctx, key, r, size, opt)
}

// bench is a Deliverer over a real bucket.
type bench struct {
	*deliver.Deliverer
	events []string // in the order in which they happened
	ledger *ledger
	bucket *bucket
	going  string // an object that is about to be deleted
}

func newBench(t *testing.T) *bench {
	t.Helper()
	b := &bench{}
	b.ledger = &ledger{events: &b.events}
	b.bucket = &bucket{Store: testkit.S3(t), events: &b.events}
	cfg := deliver.Config{Hold: 150 * time.Millisecond, Attempts: 3, Delay: time.Second}
	require.NoError(t, cfg.Validate())
	b.Deliverer = deliver.New(cfg, deliver.Deps{
		Blob: b.bucket, Commit: b.ledger, Random: rand.Reader, Log: testkit.Log(t),
		Going: func(_ context.Context, object string) (bool, error) { return object == b.going, nil },
	})
	return b
}

func (b *bench) task(t *testing.T, attempt int) deliver.Task {
	t.Helper()
	keeper := lease.NewKeeper(lease.Config{Every: time.Second, Hard: time.Minute}, testkit.Log(t))
	g := bus.Segment{N: 1, Chapter: 1, RenditionKey: strings.Repeat("ab", 32)}
	return deliver.Task{
		Bundle:  &bus.Bundle{JobID: "job_1", Job: 1, Attempt: attempt, Tenant: "default", Segments: []bus.Segment{g}},
		Segment: g, Lease: keeper.Hold(message{&b.events}, "job_1-1", nil).Parts(1, func() {})[0], GPUSeconds: 0.5,
	}
}

func speech(level int16) deliver.Speech {
	samples := make([]int16, 500)
	for i := range samples {
		samples[i] = level
	}
	return deliver.Speech{
		Audio: engine.Audio{Rate: 22050, Samples: samples}, Words: []engine.Mark{{Start: 0, End: 3, Sample: 7}},
	}
}

func objectKey(o store.Outcome) string {
	return store.ObjectKey(o.Rendition.Tenant, o.Rendition.Key, o.Rendition.Suffix)
}

func (b *bench) stored(t *testing.T, key string) []byte {
	t.Helper()
	r, _, err := b.bucket.Get(t.Context(), key, blob.GetOptions{})
	require.NoError(t, err)
	data, err := io.ReadAll(r)
	require.NoError(t, errors.Join(err, r.Close()))
	return data
}

func TestStoredThenCommittedThenAcknowledged(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	require.NoError(t, b.Speech(t.Context(), b.task(t, 2), speech(100)))
	require.Equal(t, []string{"put", "commit done", "ack"}, b.events)
	o := b.ledger.got[0]
	require.Equal(t, 2, o.Attempt)
	require.Equal(t, "renditions/default/ab/"+strings.Repeat("ab", 32)+".wav", objectKey(o))
	require.JSONEq(t, `{"sentences":[],"words":[[0,3,7]]}`, string(o.Rendition.Marks))
	require.Equal(t, wav.Encode(22050, speech(100).Audio.Samples), b.stored(t, objectKey(o)))
	require.Equal(t, store.SoundOf(loudness.Of(speech(100).Audio.Samples, 22050)), o.Rendition.Sound)
	require.InDelta(t, -50.3, o.Rendition.Sound.RMS, .1)
}

func TestTheSameAudioAgainIsTheSameObject(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	for range 2 {
		require.NoError(t, b.Speech(t.Context(), b.task(t, 1), speech(100)))
	}
	require.Equal(t, objectKey(b.ledger.got[0]), objectKey(b.ledger.got[1]))
}

func TestAnObjectThatIsAboutToGoIsNotUsedAgain(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	require.NoError(t, b.Speech(t.Context(), b.task(t, 1), speech(100)))
	b.going = objectKey(b.ledger.got[0])
	require.NoError(t, b.Speech(t.Context(), b.task(t, 1), speech(100)))
	require.NotEqual(t, b.going, objectKey(b.ledger.got[1]))
	require.Equal(t, wav.Encode(22050, speech(100).Audio.Samples), b.stored(t, objectKey(b.ledger.got[1])))
}

func TestOtherAudioGoesBesideAndNothingChanges(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	for _, level := range []int16{100, 200, 300} {
		require.NoError(t, b.Speech(t.Context(), b.task(t, 1), speech(level)))
	}
	keys := map[string]bool{}
	for i, level := range []int16{100, 200, 300} {
		key := objectKey(b.ledger.got[i])
		keys[key] = true
		require.True(t, bytes.Equal(wav.Encode(22050, speech(level).Audio.Samples), b.stored(t, key)))
	}
	require.Len(t, keys, 3)
}

func TestOnlyWhatLacksItsRenditionIsGivenBackIfItDidNotCount(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.ledger.late = true
	require.NoError(t, b.Existing(t.Context(), b.task(t, 1)))
	require.Equal(t, []string{"commit done", "nak"}, b.events)
	require.Nil(t, b.ledger.got[0].Rendition)
	b.events = nil
	require.NoError(t, b.Speech(t.Context(), b.task(t, 1), speech(100)))
	require.Equal(t, []string{"put", "commit done", "ack"}, b.events)
}

func TestADeathIsNotChargedUnlessTheTextWasAlone(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	require.NoError(t, b.Died(t.Context(), b.task(t, 1)))
	require.NoError(t, b.Guilty(t.Context(), b.task(t, 1)))
	require.Equal(t, []string{"commit died", "ack", "commit failed", "ack"}, b.events)
	require.Equal(t, "The text ended the speech worker twice.", b.ledger.got[1].ErrorDetail)
	require.Equal(t, job.Engine, b.ledger.got[1].ErrorKind)
}

func TestABucketThatStaysAwayIsNotCharged(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.bucket.fail = &job.Error{Op: "test", Kind: job.Overloaded}
	err := b.Speech(t.Context(), b.task(t, 1), speech(100))
	require.Equal(t, job.Unavailable, job.KindOf(err))
	require.Empty(t, b.ledger.got)
	require.Equal(t, "nak", b.events[len(b.events)-1])
	require.Greater(t, len(b.events), 2, "it was tried once only")
}

func TestAnOutcomeThatTheDatabaseRefusesFailsItsSegment(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.ledger.refuse = func(o store.Outcome) error {
		if o.State == job.SegmentDone {
			return &job.Error{Op: "test", Kind: job.Internal}
		}
		return nil
	}
	require.NoError(t, b.Speech(t.Context(), b.task(t, 1), speech(100)))
	require.Equal(t, []string{"put", "commit done", "commit failed", "ack"}, b.events)
	require.Equal(t, job.Internal, b.ledger.got[0].ErrorKind)
}

func TestADatabaseThatStaysAwayIsNotCharged(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.ledger.refuse = func(store.Outcome) error { return &job.Error{Op: "test", Kind: job.Unavailable} }
	err := b.Speech(t.Context(), b.task(t, 1), speech(100))
	require.Equal(t, job.Unavailable, job.KindOf(err))
	require.Equal(t, []string{"put", "commit done", "nak"}, b.events)
}

func TestAFailureIsChargedUntilAttemptsAreUsedUp(t *testing.T) {
	t.Parallel()
	broken := &job.Error{Op: "test", Kind: job.Engine, Public: "It died."}
	for name, tt := range map[string]struct {
		attempt int
		cause   error
		want    job.SegmentState
		delay   float64
	}{
		"first":   {1, broken, job.SegmentPending, 2},
		"second":  {2, broken, job.SegmentPending, 4},
		"last":    {3, broken, job.SegmentFailed, 8},
		"invalid": {1, &job.Error{Op: "test", Kind: job.Invalid}, job.SegmentFailed, 2},
		"poison":  {1, &job.Error{Op: "test", Kind: job.Engine, Err: engine.ErrPoison}, job.SegmentFailed, 2},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t)
			require.NoError(t, b.Failure(t.Context(), b.task(t, tt.attempt), tt.cause))
			o := b.ledger.got[0]
			require.Equal(t, tt.want, o.State)
			require.InDelta(t, tt.delay, o.DelaySeconds, tt.delay/4+0.01)
			require.InDelta(t, 0.5, o.GPUSeconds, 1e-9)
			require.NotEmpty(t, o.ErrorDetail)
			require.Equal(t, "ack", b.events[len(b.events)-1])
		})
	}
}
