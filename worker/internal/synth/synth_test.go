package synth_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/platform/bus"
	"github.com/voicemill/voicemill/platform/testkit"
	"github.com/voicemill/voicemill/worker/internal/check"
	"github.com/voicemill/voicemill/worker/internal/consume"
	"github.com/voicemill/voicemill/worker/internal/deliver"
	"github.com/voicemill/voicemill/worker/internal/engine"
	"github.com/voicemill/voicemill/worker/internal/fleet"
	"github.com/voicemill/voicemill/worker/internal/lease"
	"github.com/voicemill/voicemill/worker/internal/store"
	"github.com/voicemill/voicemill/worker/internal/synth"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// speaker is an engine that a test scripts. It speaks a tone of the predicted length.
type speaker struct {
	mu    sync.Mutex
	calls [][]string
	fail  func(batch []engine.Request) error
	say   func(r engine.Request) engine.Result
}

func (s *speaker) Info() engine.Info {
	return engine.Info{Name: "speaker", Model: "speaker 1", Rate: 22050, MaxBatch: 16, Window: 1, Voices: []engine.Voice{{Name: "v", Fingerprint: "f"}}}
}

func (s *speaker) Close() error { return nil }

func (s *speaker) Synthesize(_ context.Context, batch []engine.Request) ([]engine.Result, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if batch[0].ID == fleet.CanaryID {
		return []engine.Result{{Audio: tone(batch[0].Seconds)}}, nil
	}
	var texts []string
	for _, r := range batch {
		texts = append(texts, r.Text)
	}
	s.calls = append(s.calls, texts)
	if s.fail != nil {
		if err := s.fail(batch); err != nil {
			return nil, err
		}
	}
	results := make([]engine.Result, len(batch))
	for i, r := range batch {
		if s.say != nil {
			results[i] = s.say(r)
		} else {
			results[i] = engine.Result{Audio: tone(r.Seconds), Words: []engine.Mark{{End: 1, Sample: 2205}}}
		}
	}
	return results, nil
}

func tone(seconds float64) engine.Audio {
	samples := make([]int16, int(seconds*22050))
	for i := range samples {
		samples[i] = int16(9000 * math.Sin(float64(i)/20))
	}
	return engine.Audio{Rate: 22050, Samples: samples}
}

// clerk notes what is delivered, and settles it.
type clerk struct {
	mu       sync.Mutex
	speeches map[string]deliver.Speech
	failures map[string]error
	existing int
	attempts map[string]int
	err      error

	unreadable error // why what is stored cannot be read

	takes         time.Duration // for each speech
	storing, most int           // speeches at once
}

func (c *clerk) Speech(ctx context.Context, t deliver.Task, s deliver.Speech) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.storing++
	c.most = max(c.most, c.storing)
	c.mu.Unlock()
	time.Sleep(c.takes)
	c.mu.Lock()
	c.storing--
	c.speeches[t.Segment.Text], c.attempts[t.Segment.Text] = s, t.Bundle.Attempt
	return errors.Join(c.err, t.Lease.Ack(ctx))
}

func (c *clerk) Stored(context.Context, deliver.Task, string) (engine.Audio, error) {
	return tone(2), c.unreadable
}

func (c *clerk) Existing(ctx context.Context, t deliver.Task) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.existing++
	return t.Lease.Ack(ctx)
}

func (c *clerk) Failure(ctx context.Context, t deliver.Task, cause error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.failures[t.Segment.Text] = cause
	return t.Lease.Ack(ctx)
}

func (c *clerk) Later(ctx context.Context, t deliver.Task, cause error) error {
	return c.Failure(ctx, t, errors.Join(errLater, cause))
}

func (c *clerk) Died(ctx context.Context, t deliver.Task) error {
	return c.Failure(ctx, t, errDied)
}

func (c *clerk) Guilty(ctx context.Context, t deliver.Task) error {
	return c.Failure(ctx, t, errGuilty)
}

var errDied, errGuilty, errLater = errors.New("died"), errors.New("guilty"), errors.New("later")

// wishes says what is wanted: everything, unless told otherwise.
type wishes struct {
	mu    sync.Mutex
	heard map[string]job.Hearing // by suffix
	err   error
	each  func(a store.Ask) store.Answer
}

func (w *wishes) PutHearing(_ context.Context, _, suffix string, h job.Hearing) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.heard == nil {
		w.heard = map[string]job.Hearing{}
	}
	w.heard[suffix] = h
	return nil
}

func (w *wishes) Begin(_ context.Context, asks []store.Ask) ([]store.Answer, error) {
	out := make([]store.Answer, len(asks))
	for i, a := range asks {
		out[i].Wanted = true
		if w.each != nil {
			out[i] = w.each(a)
		}
	}
	return out, w.err
}

type message struct {
	mu   *sync.Mutex
	acks *int
	naks *int
}

func (m message) Ack(context.Context) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	*m.acks++
	return nil
}

func (m message) Nak() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	*m.naks++
	return nil
}
func (m message) InProgress() error { return nil }

// bench is one Caller and all around it.
type bench struct {
	engine *speaker
	clerk  *clerk
	wishes *wishes
	mu     sync.Mutex
	acks   int
	naks   int
	freed  int
	items  []*consume.Item // of the last call

	suspects chan struct{}
	ear      synth.Ear
	terms    bus.Bundle // Verify, OnDoubt and Speed of the bundle
}

func newBench() *bench {
	return &bench{
		engine: &speaker{}, wishes: &wishes{}, suspects: make(chan struct{}, 1),
		clerk: &clerk{speeches: map[string]deliver.Speech{}, failures: map[string]error{}, attempts: map[string]int{}},
	}
}

// call speaks segments of one bundle, which came with the claim.
func (b *bench) call(t *testing.T, segments ...bus.Segment) error {
	t.Helper()
	return b.claimed(t, store.Claimed{}, segments).Call(t.Context(), b.items, func() { b.freed++ })
}

func (b *bench) claimed(t *testing.T, c store.Claimed, segments []bus.Segment) *synth.Caller {
	t.Helper()
	keeper := lease.NewKeeper(lease.Config{Every: time.Second, Hard: time.Hour}, testkit.Log(t))
	bundle := &consume.Bundle{Bundle: bus.Bundle{JobID: "job_1", Job: 1, Attempt: 2, Verify: b.terms.Verify, OnDoubt: b.terms.OnDoubt}, Claim: c}
	b.items = nil
	for i, g := range segments {
		g.N, g.Voice, g.PredictedSeconds = i+1, "v", 1
		l := keeper.Hold(message{&b.mu, &b.acks, &b.naks}, g.Text, nil)
		b.items = append(b.items, &consume.Item{Bundle: bundle, Segment: g, Lease: l.Parts(1, func() {})[0]})
	}
	cfg := synth.Config{Pool: "p", Hold: 10 * time.Second}
	require.NoError(t, cfg.Validate())
	return synth.New(cfg, synth.Deps{Fleet: b.fleet(t), Store: b.wishes, Deliver: b.clerk, Ear: b.ear, Suspects: b.suspects, Stores: make(chan struct{}, stores), Log: testkit.Log(t)})
}

// fleet returns a fleet of b's engine alone, which has proved itself.
func (b *bench) fleet(t *testing.T) *fleet.Fleet {
	t.Helper()
	f, err := fleet.New(fleet.Config{Pool: "p", Check: check.Default(), CallMin: time.Minute, CallFactor: 10, Log: testkit.Log(t)}, b.engine)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, f.Close()) })
	for ready, changed := f.Ready(); !ready; ready, changed = f.Ready() {
		<-changed
	}
	return f
}

// stores is how many speeches may be stored at a time.
const stores = 8

func works(n int) (segments []bus.Segment) {
	for i := range n {
		segments = append(segments, bus.Segment{Text: fmt.Sprintf("text %d", i)})
	}
	return segments
}

func TestItemsThatFailByThemselvesAreCharged(t *testing.T) {
	t.Parallel()
	b := newBench()
	b.engine.say = func(r engine.Request) engine.Result {
		switch {
		case strings.HasSuffix(r.Text, "1"):
			return engine.Result{Err: &job.Error{Op: "speaker", Kind: job.Engine}}
		case strings.HasSuffix(r.Text, "2"):
			return engine.Result{Audio: engine.Audio{Rate: 22050, Samples: make([]int16, 22050)}}
		case strings.HasSuffix(r.Text, "3"):
			return engine.Result{Audio: tone(30)}
		}
		return engine.Result{Audio: tone(r.Seconds)}
	}
	require.NoError(t, b.call(t, works(5)...))
	require.Len(t, b.clerk.speeches, 2)
	require.Len(t, b.clerk.failures, 3)
	require.Equal(t, "The audio was not usable: it is silent.", job.PublicOf(b.clerk.failures["text 2"], ""))
	require.Equal(t, "The audio was not usable: it is much longer than the text.", job.PublicOf(b.clerk.failures["text 3"], ""))
}

func TestAnEngineThatIsFullHalfwayKeepsWhatItSaid(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench()
		b.engine.say = func(r engine.Request) engine.Result {
			if strings.HasSuffix(r.Text, "3") {
				return engine.Result{Err: &job.Error{Op: "speaker", Kind: job.Overloaded, Err: &engine.BusyError{After: time.Hour}}}
			}
			return engine.Result{Audio: tone(r.Seconds)}
		}
		require.NoError(t, b.call(t, works(4)...), "the pool waits by itself")
		require.Len(t, b.clerk.speeches, 3)
		require.Empty(t, b.clerk.failures)
		require.Equal(t, 1, b.naks)
	})
}

func TestSoManyAreStoredAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench()
		b.clerk.takes = time.Second
		c := b.claimed(t, store.Claimed{}, works(stores+4))
		begun := time.Now()
		var freed time.Duration
		require.NoError(t, c.Call(t.Context(), b.items, func() { freed = time.Since(begun) }))
		require.Equal(t, stores, b.clerk.most)
		require.Len(t, b.clerk.speeches, stores+4)
		require.Equal(t, time.Second, freed, "the engine's place is kept until all have room")
		require.Equal(t, 2*time.Second, time.Since(begun))
	})
}

// A voice that the engines do not know is no fault of the text: it comes again later.
func TestAVoiceThatIsRefusedComesAgainLater(t *testing.T) {
	t.Parallel()
	b := newBench()
	b.claimed(t, store.Claimed{}, works(1))
	c := synth.New(synth.Config{Pool: "p", Hold: time.Second}, synth.Deps{Fleet: voiceless{}, Store: b.wishes, Deliver: b.clerk, Suspects: b.suspects, Stores: make(chan struct{}, stores), Log: testkit.Log(t)})
	require.NoError(t, c.Call(t.Context(), b.items, func() {}))
	require.ErrorIs(t, b.clerk.failures["text 0"], errLater)
}

type voiceless struct{}

func (voiceless) Speak(_ context.Context, batch []engine.Request, done func(int, fleet.Answer)) {
	for i := range batch {
		done(i, fleet.Answer{Result: engine.Result{Err: &job.Error{Op: "fleet", Kind: job.Unavailable, Err: fleet.ErrVoice}}})
	}
}

func TestWhatIsNotWantedReachesNoEngine(t *testing.T) {
	t.Parallel()
	b := newBench()
	b.wishes.each = func(a store.Ask) store.Answer {
		return store.Answer{Wanted: a.Segment != 1, Rendered: a.Segment == 2} // the first was cancelled
	}
	require.NoError(t, b.call(t, works(3)...))
	require.Equal(t, [][]string{{"text 2"}}, b.engine.calls)
	require.Equal(t, 1, b.clerk.existing)
	require.Equal(t, 2, b.clerk.attempts["text 2"])
	require.Equal(t, 3, b.acks)

	b.wishes.each = func(store.Ask) store.Answer { return store.Answer{} }
	require.NoError(t, b.call(t, works(3)...))
	require.Len(t, b.engine.calls, 1)
}

func TestWhatWasClaimedJustNowIsNotAskedForAgain(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		claim store.Claimed
		since time.Duration
		asked int
	}{
		"just now":            {store.Claimed{Stored: 1 << 1}, 0, 1}, // of what is stored
		"a while ago":         {store.Claimed{Stored: 1 << 1}, time.Minute, 3},
		"a suspect, just now": {store.Claimed{Deaths: 2}, 0, 3},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench()
			asked := 0
			b.wishes.each = func(a store.Ask) store.Answer {
				asked++
				return store.Answer{Wanted: true, Rendered: a.Segment == 2}
			}
			c := b.claimed(t, tt.claim, works(3))
			for _, it := range b.items {
				it.Since = time.Now().Add(-tt.since)
			}
			require.NoError(t, c.Call(t.Context(), b.items, func() {}))
			require.Equal(t, tt.asked, asked)
			require.Equal(t, [][]string{{"text 0", "text 2"}}, b.engine.calls)
			require.Equal(t, 1, b.clerk.existing)
		})
	}
}

func TestOneSuspectAtATimeIsWithTheEngines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench()
		caller := b.claimed(t, store.Claimed{Deaths: 2}, works(1))
		b.suspects <- struct{}{} // another pool of this worker has one
		done := make(chan error, 1)
		go func() { done <- caller.Call(t.Context(), b.items, func() { b.freed++ }) }()
		synctest.Wait()
		require.Empty(t, b.engine.calls)
		<-b.suspects
		require.NoError(t, <-done)
		require.Len(t, b.engine.calls, 1)
		require.NoError(t, b.call(t, works(1)...), "its place is free again")
	})
}

func TestWhatWorkersDiedWithIsSettledWithoutAnEngine(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		claim store.Claimed
		want  error
	}{
		"in company": {store.Claimed{Died: 2}, errDied},
		"alone":      {store.Claimed{Deaths: 2, Died: 2}, errGuilty},
	} {
		b := newBench()
		require.NoError(t, b.claimed(t, tt.claim, works(2)).Bury(t.Context(), b.items))
		require.Equal(t, map[string]error{"text 0": tt.want, "text 1": tt.want}, b.clerk.failures, name)
		require.Equal(t, 2, b.acks)
		require.Empty(t, b.engine.calls)
	}
}

func TestADatabaseThatIsAwayIsWaitedForBeforeTheEngine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench()
		b.wishes.err = &job.Error{Op: "store", Kind: job.Unavailable}
		begun := time.Now()
		err := b.call(t, works(1)...)
		require.Equal(t, job.Unavailable, job.KindOf(err))
		require.Greater(t, time.Since(begun), 10*time.Second)
		require.Empty(t, b.engine.calls)
		require.Equal(t, 1, b.freed)
	})
}

func TestAFailedDeliveryIsReported(t *testing.T) {
	t.Parallel()
	b := newBench()
	b.clerk.err = &job.Error{Op: "deliver", Kind: job.Unavailable}
	require.Equal(t, job.Unavailable, job.KindOf(b.call(t, works(2)...)))
}

func TestAudioComesAtTheRateThatWasPlanned(t *testing.T) {
	t.Parallel()
	b := newBench()
	require.NoError(t, b.call(t, bus.Segment{Text: "resampled", SampleRate: 24000}, bus.Segment{Text: "as it is", SampleRate: 22050}))
	s := b.clerk.speeches["resampled"]
	require.Equal(t, 24000, s.Audio.Rate)
	require.InDelta(t, 24000, len(s.Audio.Samples), 1)
	require.Equal(t, int64(2400), s.Words[0].Sample)
	require.Equal(t, 22050, b.clerk.speeches["as it is"].Audio.Rate)

	require.NoError(t, b.call(t, bus.Segment{Text: "impossible", SampleRate: 23999}))
	require.Equal(t, job.Internal, job.KindOf(b.clerk.failures["impossible"]))
}

func TestATextWithoutWordsMayBeSilent(t *testing.T) {
	t.Parallel()
	b := newBench()
	b.engine.say = func(engine.Request) engine.Result { return engine.Result{Audio: engine.Audio{Rate: 22050}} }
	require.NoError(t, b.call(t, bus.Segment{Text: "* * *"}))
	require.Len(t, b.clerk.speeches["* * *"].Audio.Samples, 2205)
	require.Equal(t, "empty", b.clerk.speeches["* * *"].Verdict)
}
