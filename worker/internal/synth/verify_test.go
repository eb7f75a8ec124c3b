package synth_test

import (
	"context"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/platform/bus"
	"github.com/voicemill/voicemill/worker/internal/engine"
	"github.com/voicemill/voicemill/worker/internal/fleet"
	"github.com/voicemill/voicemill/worker/internal/hear"
	"github.com/voicemill/voicemill/worker/internal/store"
)

// listener hears a fault in audio that a test calls bad.
type listener struct {
	mu     sync.Mutex
	asked  []hear.Spoken
	bad    func(s hear.Spoken) string // the kind of the doubt; empty: none
	away   bool
	sample bool
}

func (l *listener) Hear(_ context.Context, s hear.Spoken) hear.Heard {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.asked = append(l.asked, s)
	if l.away {
		return hear.Heard{}
	}
	h := &job.Hearing{Words: 2, Heard: "heard", Tries: 1}
	if l.bad != nil {
		h.Kind = l.bad(s)
	}
	return hear.Heard{Hearing: h}
}

func (l *listener) Chooses(string) bool { return l.sample }

func listening(verify job.Verify, onDoubt job.OnDoubt) (*bench, *listener) {
	b, ear := newBench(), &listener{}
	b.ear, b.terms = ear, bus.Bundle{Verify: verify, OnDoubt: onDoubt}
	return b, ear
}

// louder speaks each try longer than the one before, so that they differ.
func louder(b *bench) map[int64]bool {
	seeds, n := map[int64]bool{}, 0.0
	b.engine.say = func(r engine.Request) engine.Result {
		seeds[r.Seed] = true
		n++
		return engine.Result{Audio: tone(r.Seconds + n/10)}
	}
	return seeds
}

func TestWhatIsCondemnedIsSpokenAgainWithAnotherSeed(t *testing.T) {
	t.Parallel()
	b, ear := listening(job.VerifyAll, job.RetryDoubtful)
	seeds := louder(b)
	ear.bad = func(s hear.Spoken) string {
		if s.Audio.Seconds() < 1.15 {
			return "missing"
		}
		return ""
	}
	require.NoError(t, b.call(t, works(1)...))
	s := b.clerk.speeches["text 0"]
	require.InDelta(t, 1.2, s.Audio.Seconds(), .01, "the second try is good")
	require.Equal(t, &job.Hearing{Words: 2, Heard: "heard", Tries: 2}, s.Hearing)
	require.Len(t, seeds, 2)
	require.Equal(t, "text 0", ear.asked[0].Text)
	require.InDelta(t, 1, ear.asked[0].Seconds, 0)
	require.Equal(t, 1, b.acks)
}

func TestWhatStaysDoubtfulIsDeliveredWithItsVerdict(t *testing.T) {
	t.Parallel()
	for onDoubt, tries := range map[job.OnDoubt]int{"": 3, job.RetryDoubtful: 3, job.DeliverDoubtful: 1} {
		b, ear := listening(job.VerifyAll, onDoubt)
		louder(b)
		ear.bad = func(hear.Spoken) string { return "extra" }
		require.NoError(t, b.call(t, works(1)...))
		require.Equal(t, &job.Hearing{Kind: "extra", Words: 2, Heard: "heard", Tries: tries}, b.clerk.speeches["text 0"].Hearing)
		require.Len(t, ear.asked, tries)
		require.Empty(t, b.clerk.failures)
	}
}

func TestAnEngineThatSaysTheSameAgainIsAskedOnceMoreOnly(t *testing.T) {
	t.Parallel()
	b, ear := listening(job.VerifyAll, job.RetryDoubtful)
	ear.bad = func(hear.Spoken) string { return "other" }
	require.NoError(t, b.call(t, works(1)...))
	require.Len(t, b.engine.calls, 2)
	require.Len(t, ear.asked, 1)
	require.Equal(t, 1, b.clerk.speeches["text 0"].Hearing.Tries)
}

func TestAnEngineThatFailsTheSecondTimeLeavesTheFirst(t *testing.T) {
	t.Parallel()
	b, ear := listening(job.VerifyAll, job.RetryDoubtful)
	ear.bad = func(hear.Spoken) string { return "other" }
	b.engine.fail = func(batch []engine.Request) error {
		if len(b.engine.calls) > 1 && batch[0].ID != fleet.CanaryID {
			return &job.Error{Op: "speaker", Kind: job.Invalid, Public: "No."}
		}
		return nil
	}
	require.NoError(t, b.call(t, works(1)...))
	require.Empty(t, b.clerk.failures)
	require.Equal(t, "other", b.clerk.speeches["text 0"].Hearing.Kind)
}

func TestASampleIsWhatIsOddAndAShare(t *testing.T) {
	t.Parallel()
	b, ear := listening(job.VerifySample, "")
	b.engine.say = func(r engine.Request) engine.Result {
		if strings.HasSuffix(r.Text, "1") {
			return engine.Result{Audio: tone(2.6)} // within what is good, not within half of it
		}
		return engine.Result{Audio: tone(r.Seconds)}
	}
	require.NoError(t, b.call(t, works(3)...))
	require.Len(t, ear.asked, 1)
	require.Equal(t, "text 1", ear.asked[0].Text)
	require.Len(t, b.clerk.speeches, 3)
	require.Nil(t, b.clerk.speeches["text 0"].Hearing)

	b, ear = listening(job.VerifySample, "")
	ear.sample = true
	require.NoError(t, b.call(t, works(3)...))
	require.Len(t, ear.asked, 3)

	b, ear = listening(job.VerifyNone, "")
	ear.sample = true
	require.NoError(t, b.call(t, works(3)...))
	require.Empty(t, ear.asked)
}

func TestWithoutAnEarSegmentsAreDeliveredUnheard(t *testing.T) {
	t.Parallel()
	b, ear := listening(job.VerifyAll, "")
	ear.away = true
	require.NoError(t, b.call(t, works(1)...))
	require.Nil(t, b.clerk.speeches["text 0"].Hearing)
	require.Len(t, b.engine.calls, 1)
	b.ear = nil
	require.NoError(t, b.call(t, works(1)...))
	require.Len(t, b.clerk.speeches, 1)
	require.Equal(t, 2, b.acks)
}

func TestWhatIsReusedIsHeardIfItNeverWas(t *testing.T) {
	t.Parallel()
	b, ear := listening(job.VerifyAll, "")
	ear.bad = func(hear.Spoken) string { return "missing" }
	b.wishes.each = func(a store.Ask) store.Answer {
		return store.Answer{Wanted: true, Rendered: true, Suffix: "-x", Heard: a.Segment == 2}
	}
	require.NoError(t, b.call(t, works(2)...))
	require.Equal(t, 2, b.clerk.existing)
	require.Equal(t, map[string]job.Hearing{"-x": {Kind: "missing", Words: 2, Heard: "heard", Tries: 1}}, b.wishes.heard)
	require.Len(t, ear.asked, 1)
	require.Empty(t, b.engine.calls, "other jobs have that audio")

	b.clerk.unreadable = &job.Error{Op: "blob", Kind: job.Unavailable}
	require.NoError(t, b.call(t, works(1)...), "what cannot be heard is no reason to fail")
	require.Equal(t, 3, b.clerk.existing)
}
