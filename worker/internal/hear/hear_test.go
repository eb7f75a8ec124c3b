package hear_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/platform/testkit"
	"github.com/voicemill/voicemill/worker/internal/engine"
	"github.com/voicemill/voicemill/worker/internal/hear"
	"github.com/voicemill/voicemill/worker/internal/listen"
	"github.com/voicemill/voicemill/worker/internal/listen/transcribe"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// scripted is a recogniser that hears what a test says, or fails.
type scripted struct {
	mu     sync.Mutex
	calls  int
	at     int // calls in progress
	most   int // of these, at once
	heard  string
	fail   func(call int) error
	takes  time.Duration
	closed bool
}

func (e *scripted) Close() error {
	e.closed = true
	return nil
}

func (e *scripted) Hear(ctx context.Context, audio engine.Audio, _ string) (transcribe.Transcript, error) {
	e.mu.Lock()
	e.calls++
	e.at++
	e.most = max(e.most, e.at)
	call := e.calls
	e.mu.Unlock()
	defer func() {
		e.mu.Lock()
		e.at--
		e.mu.Unlock()
	}()
	select {
	case <-time.After(e.takes):
	case <-ctx.Done():
		return transcribe.Transcript{}, engine.CallError("scripted", context.Cause(ctx))
	}
	if e.fail != nil {
		if err := e.fail(call); err != nil {
			return transcribe.Transcript{}, err
		}
	}
	return transcribe.Transcript{Text: e.heard, Words: []listen.Span{{Text: e.heard, Start: .1, End: audio.Seconds() - .1}}}, nil
}

func fails(kind job.Kind) func(int) error {
	return func(int) error { return &job.Error{Op: "scripted", Kind: kind} }
}

const patience = time.Minute

func ears(t *testing.T, window int, all ...hear.Ear) *hear.Ears {
	t.Helper()
	e, err := hear.New(hear.Config{Window: window, Patience: patience, Share: .1, Log: testkit.Log(t)}, all...)
	require.NoError(t, err)
	return e
}

// spoken is a second of sound.
func spoken(text string) hear.Spoken {
	samples := make([]int16, 16000)
	for i := range samples {
		samples[i] = int16(9000 * math.Sin(float64(i)/10))
	}
	return hear.Spoken{Pool: "p", Voice: "v", Language: "en", Text: text, Seconds: 1, Audio: engine.Audio{Rate: 16000, Samples: samples}}
}

func TestWhatIsHeardIsHeldAgainstTheText(t *testing.T) {
	t.Parallel()
	e := ears(t, 1, &scripted{heard: "good morning"})
	good := e.Hear(t.Context(), spoken("Good morning!"))
	require.False(t, good.Doubtful())
	require.Equal(t, 2, good.Words)
	require.Equal(t, "good morning", good.Heard)
	bad := e.Hear(t.Context(), spoken("Good morning, said the old lighthouse keeper, and closed the door."))
	require.True(t, bad.Doubtful())
	require.Equal(t, "missing", bad.Kind)
	require.True(t, good.Better(bad))
	require.False(t, bad.Better(good))
	require.True(t, bad.Better(hear.Heard{}))
	worse := e.Hear(t.Context(), spoken("Quite another thing is written here, and a lot of it, too."))
	require.True(t, bad.Better(worse))
}

// A recogniser that writes down once what sounds twice hears no wrong word.
func TestWhatSoundsTwiceIsDoubtfulThoughEveryWordIsRight(t *testing.T) {
	t.Parallel()
	const text = "Good morning, said the keeper of the old lighthouse, and closed the door."
	s := spoken(text)
	s.Audio.Samples = nil
	for i := range 8 * 16000 { // a tone that wanders, the last two seconds those before
		at := float64(i) / 16000
		if i >= 6*16000 {
			at -= 2
		}
		hz := 300 + 200*math.Sin(at*at)
		s.Audio.Samples = append(s.Audio.Samples, int16(9000*math.Sin(2*math.Pi*hz*at)))
	}
	e := ears(t, 1, &scripted{heard: text})
	got := e.Hear(t.Context(), s)
	require.Equal(t, "repeated", got.Kind, got.Why)
	s.Audio.Samples = s.Audio.Samples[:6*16000]
	got = e.Hear(t.Context(), s)
	require.False(t, got.Doubtful(), got.Why)
}

// Instructions are free text: whoever writes some costs nobody else what is known of a voice.
func TestHistoriesWithInstructionsAreForgottenFirst(t *testing.T) {
	t.Parallel()
	e := ears(t, 1, &scripted{heard: "good morning"})
	s := spoken("Good morning!")
	s.Audio = engine.Audio{Rate: 1000, Samples: s.Audio.Samples[:1000]} // it is heard a thousand times
	for range 40 {
		require.False(t, e.Hear(t.Context(), s).Doubtful())
	}
	for i := range 1000 {
		s.Instructions = fmt.Sprintf("Speak as on day %d.", i)
		e.Hear(t.Context(), s)
	}
	s.Instructions, s.Seconds = "", 3
	require.Equal(t, "missing", e.Hear(t.Context(), s).Kind, "the voice takes a second for one that is predicted")
}

// A new engine is heard without a history, and teaches none.
func TestTheShareThatIsHeardWronglyIsOfCharacters(t *testing.T) {
	t.Parallel()
	e := ears(t, 1, &scripted{heard: "good morning"})
	s := spoken("")
	wrong := func(text string) float64 {
		share, err := e.Wrong(t.Context(), engine.Request{Text: text, Language: "en"}, s.Audio)
		require.NoError(t, err)
		return share
	}
	require.Zero(t, wrong("Good morning!"))
	require.InDelta(t, .5, wrong("Good morning. Good evening."), .2)
	share, err := e.Wrong(t.Context(), engine.Request{Text: "Hello there.", Language: "en"}, engine.Audio{Rate: 16000, Samples: make([]int16, 16000)})
	require.NoError(t, err)
	require.InDelta(t, 1, share, 0, "silence")
	_, err = ears(t, 1, &scripted{fail: fails(job.Invalid)}).Wrong(t.Context(), engine.Request{Text: "Hello.", Language: "en"}, s.Audio)
	require.Error(t, err)
}

func TestSilenceIsNotSentToAnEar(t *testing.T) {
	t.Parallel()
	ear := &scripted{heard: "thank you for watching"}
	s := spoken("Hello there, old friend of mine.")
	s.Audio.Samples = make([]int16, 16000)
	h := ears(t, 1, ear).Hear(t.Context(), s)
	require.Equal(t, "missing", h.Kind)
	require.Zero(t, ear.calls)
}

func TestTheSampleIsAlwaysTheSameShare(t *testing.T) {
	t.Parallel()
	e, n := ears(t, 1, &scripted{}), 0
	for i := range 5000 {
		key := job.Rendition{Text: fmt.Sprint(i)}.Key()
		if e.Chooses(key) {
			n++
			require.True(t, e.Chooses(key))
		}
	}
	require.InDelta(t, 500, n, 75)
}

func TestNoMoreThanAWindowIsWithAnEar(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ear := &scripted{heard: "hello", takes: time.Hour}
		e := ears(t, 3, ear)
		var wg sync.WaitGroup
		for range 20 {
			wg.Go(func() {
				require.NotNil(t, e.Hear(t.Context(), spoken("hello")).Hearing, "a turn is waited for, however long")
			})
		}
		wg.Wait()
		require.Equal(t, 20, ear.calls)
		require.Equal(t, 3, ear.most)
	})
}

func TestASickEarIsWaitedForOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sick := true
		ear := &scripted{heard: "hello", takes: time.Millisecond, fail: func(int) error {
			if sick {
				return &job.Error{Op: "scripted", Kind: job.Unavailable}
			}
			return nil
		}}
		e := ears(t, 4, ear)
		begun := time.Now()
		var wg sync.WaitGroup
		for range 10 {
			wg.Go(func() { require.Nil(t, e.Hear(t.Context(), spoken("hello")).Hearing) })
		}
		wg.Wait()
		require.InDelta(t, patience, time.Since(begun), float64(time.Second))
		require.Less(t, ear.calls, 30, "it is left alone meanwhile")
		begun = time.Now()
		for range 100 {
			require.Nil(t, e.Hear(t.Context(), spoken("hello")).Hearing)
			time.Sleep(time.Second)
		}
		require.Less(t, time.Since(begun), 105*time.Second, "that was long enough")
		sick = false
		time.Sleep(patience / 2)
		require.NotNil(t, e.Hear(t.Context(), spoken("hello")).Hearing)

		sick = true
		require.Nil(t, e.Hear(t.Context(), spoken("hello")).Hearing)
		time.Sleep(time.Hour)
		sick = false
		require.NotNil(t, e.Hear(t.Context(), spoken("hello")).Hearing, "after an hour nobody knows how it is")
	})
}

func TestAnotherEarTakesOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		broken, well := &scripted{fail: fails(job.Engine)}, &scripted{heard: "hello"}
		e := ears(t, 1, broken, well)
		for range 50 {
			require.NotNil(t, e.Hear(t.Context(), spoken("hello")).Hearing)
		}
		require.Equal(t, 50, well.calls)
		require.Equal(t, 1, broken.calls, "no time has passed")
	})
}

func TestAudioThatAnEarFailsOnTwiceGoesUnheard(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for kind, calls := range map[job.Kind]int{job.Engine: 2, job.Invalid: 1} {
			ear := &scripted{fail: fails(kind)}
			require.Nil(t, ears(t, 1, ear).Hear(t.Context(), spoken("hello")).Hearing)
			require.Equal(t, calls, ear.calls, kind)
		}
	})
}

func TestAnEarThatRefusesEverythingIsSick(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ear := &scripted{fail: fails(job.Invalid)}
		e := ears(t, 1, ear)
		begun := time.Now()
		for range 1000 {
			require.Nil(t, e.Hear(t.Context(), spoken("hello")).Hearing)
			time.Sleep(100 * time.Millisecond)
		}
		require.Less(t, ear.calls, 20)
		require.Less(t, time.Since(begun), 101*time.Second+patience)
	})
}

func TestAFullEarIsLeftAloneForAsLongAsItAsks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ear := &scripted{heard: "hello", fail: func(call int) error {
			if call == 2 {
				return &job.Error{Op: "scripted", Kind: job.Overloaded, Err: &engine.BusyError{After: 20 * time.Second}}
			}
			return nil
		}}
		e, begun := ears(t, 1, ear), time.Now()
		require.NotNil(t, e.Hear(t.Context(), spoken("hello")).Hearing)
		require.NotNil(t, e.Hear(t.Context(), spoken("hello")).Hearing)
		require.Equal(t, 20*time.Second, time.Since(begun))
		require.Equal(t, 3, ear.calls)
	})
}

func TestWhoLeavesIsNotHeard(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ear := &scripted{heard: "hello", takes: time.Hour}
		e := ears(t, 1, ear)
		ctx, leave := context.WithTimeoutCause(t.Context(), time.Second, errors.New("left"))
		defer leave()
		var wg sync.WaitGroup
		for range 3 {
			wg.Go(func() { require.Nil(t, e.Hear(ctx, spoken("hello")).Hearing) })
		}
		wg.Wait()
		ear.takes = 0
		require.NotNil(t, e.Hear(t.Context(), spoken("hello")).Hearing, "that says nothing against the ear")
		require.NoError(t, e.Close())
		require.True(t, ear.closed)
	})
}

func TestSettingsThatMakeNoSense(t *testing.T) {
	t.Parallel()
	for _, c := range []hear.Config{{}, {Window: 1, Patience: -1}, {Window: 1, Share: 2}, {Window: 1, Share: math.NaN()}} {
		_, err := hear.New(c, &scripted{})
		require.Error(t, err)
	}
	_, err := hear.New(hear.Config{Window: 1})
	require.Error(t, err)
}
