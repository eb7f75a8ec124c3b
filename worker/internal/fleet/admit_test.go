package fleet_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/platform/testkit"
	"github.com/voicemill/voicemill/worker/internal/check"
	"github.com/voicemill/voicemill/worker/internal/engine"
	"github.com/voicemill/voicemill/worker/internal/fleet"
)

// babbler is a backend that says something else in company, until it is mended.
type babbler struct {
	sim
	how    func(q engine.Request, a engine.Audio) engine.Audio // under mu; nil: as alone
	mended time.Time

	present int // under mu: texts
}

func (b *babbler) Synthesize(ctx context.Context, batch []engine.Request) ([]engine.Result, error) {
	b.mu.Lock()
	b.present += len(batch)
	b.mu.Unlock()
	_ = sleep(ctx, time.Millisecond) // whoever comes at the same time is there
	b.mu.Lock()
	company, how := b.present > 1, b.how
	b.mu.Unlock()
	results, err := b.sim.Synthesize(ctx, batch)
	b.mu.Lock()
	b.present -= len(batch)
	b.mu.Unlock()
	if err == nil && company && how != nil && results[0].Err == nil && time.Now().Before(b.mended) {
		for i, q := range batch {
			results[i].Audio = how(q, results[i].Audio)
		}
	}
	return results, err
}

func half(_ engine.Request, a engine.Audio) engine.Audio {
	return engine.Audio{Rate: a.Rate, Samples: a.Samples[:len(a.Samples)/2]}
}

func silent(q engine.Request, a engine.Audio) engine.Audio { return tone(a.Seconds(), q.Seed%2 == 1) }

func quiet(_ engine.Request, a engine.Audio) engine.Audio {
	for i := range a.Samples {
		a.Samples[i] /= 10
	}
	return a
}

// uneven is twice as long or half as long, by turns: in the middle it is right.
func uneven(q engine.Request, a engine.Audio) engine.Audio {
	if q.Seed%2 == 0 {
		return half(q, a)
	}
	return engine.Audio{Rate: a.Rate, Samples: append(a.Samples, a.Samples...)}
}

// fails is an ear that understands nothing that begins loudly.
type fails struct{ mumbles func(a engine.Audio) bool }

func (e fails) Wrong(_ context.Context, _ engine.Request, a engine.Audio) (float64, error) {
	if e.mumbles(a) {
		return 0.886, nil
	}
	return 0.055, nil
}

func mumble(_ engine.Request, a engine.Audio) engine.Audio {
	a.Samples[0] = 12345 // only an ear hears it
	return a
}

func admitting(t *testing.T, a fleet.Admission, drivers ...engine.Engine) *fleet.Fleet {
	t.Helper()
	f, err := fleet.New(fleet.Config{Pool: "p", Check: check.Default(), CallMin: 15 * time.Second, CallFactor: 1, Admission: &a, Log: testkit.Log(t)}, drivers...)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, f.Close()) })
	return f
}

// The pool waits, loudly, and no text was risked; when the engine is mended it works.
func TestAnEngineThatSpeaksOtherwiseInCompanyIsRefused(t *testing.T) {
	for shape, sizes := range map[string]struct{ window, batch int }{"four calls": {4, 1}, "a call of eight": {8, 8}, "two calls of four": {8, 4}} {
		for name, c := range map[string]struct {
			how  func(engine.Request, engine.Audio) engine.Audio
			says string
		}{
			"half as long": {half, "it takes 0.50 times as long"},
			"silent":       {silent, "are bad: it is silent"},
			"quiet":        {quiet, "it is 0.10 times as loud"},
			"uneven":       {uneven, "lengths differ by a factor of 2.00"},
			"a mumble":     {mumble, "83 % more of the text is not heard"},
		} {
			t.Run(name+" in "+shape, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					b := &babbler{sim: sim{window: sizes.window, batch: sizes.batch}, how: c.how, mended: time.Now().Add(10 * time.Minute)}
					a := fleet.DefaultAdmission()
					if name == "a mumble" {
						a.Ear = fails{func(a engine.Audio) bool { return a.Samples[0] == 12345 }}
					}
					f := admitting(t, a, b)
					time.Sleep(time.Minute)
					s := f.State()
					require.True(t, s.Waiting)
					require.Equal(t, fleet.Misconfigured, s.Why)
					require.Contains(t, s.Reason, "texts at once it speaks otherwise than alone: ")
					require.Contains(t, s.Reason, c.says)
					book := newBook(f)
					begun := time.Now()
					book.read(t.Context(), texts(8), sizes.batch, 1)
					require.Len(t, book.done, 8)
					require.Empty(t, book.charged)
					require.InDelta(t, 9*60, time.Since(begun).Seconds(), 60, "it was tried again")
				})
			})
		}
	}
}

// deaf is an ear that never answers.
type deaf struct{}

func (deaf) Wrong(ctx context.Context, _ engine.Request, _ engine.Audio) (float64, error) {
	<-ctx.Done()
	return 1, context.Cause(ctx)
}

// An ear that does not answer is nothing against the engine, and is not waited for without end.
func TestAnEngineThatNobodyHearsIsAdmitted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &babbler{sim: sim{window: 4}, how: mumble, mended: time.Now().Add(time.Hour)}
		a := fleet.DefaultAdmission()
		a.Ear = deaf{}
		begun := time.Now()
		require.NoError(t, a.Admit(t.Context(), b, 4))
		require.LessOrEqual(t, time.Since(begun), a.Patience+time.Minute)
		ctx, cancel := context.WithTimeout(t.Context(), a.Patience/2)
		defer cancel()
		begun = time.Now()
		require.NoError(t, a.Admit(ctx, b, 4), "half of the time is for whatever else there is to do")
		require.Less(t, time.Since(begun), a.Patience/4+time.Minute)
		left := errors.New("left")
		leaves, leave := context.WithCancelCause(t.Context())
		time.AfterFunc(time.Minute, func() { leave(left) })
		require.ErrorIs(t, a.Admit(leaves, b, 4), left, "whoever leaves admits nobody")
	})
}

// What samples reads a sentence otherwise each time, and is admitted all the same.
func TestAnEngineThatSamplesIsAdmitted(t *testing.T) {
	refused := 0
	for seed := range 100 {
		synctest.Test(t, func(t *testing.T) {
			random := newRandom(seed)
			vary := func(_ engine.Request, a engine.Audio) engine.Audio {
				n := float64(len(a.Samples)) * (1 + .5*(random()-.5)) // deviates by 14 %
				return tone(n/rate, false)
			}
			b := &babbler{sim: sim{window: 8}, how: vary, mended: time.Now().Add(time.Hour)}
			err := fleet.DefaultAdmission().Admit(t.Context(), b, 8)
			if errors.Is(err, engine.ErrRefused) {
				refused++
			} else {
				require.NoError(t, err)
			}
		})
	}
	require.LessOrEqual(t, refused, 1)
}

// One that fails in company is not refused for that: texts are halved, and windows too.
func TestAnEngineThatFailsInCompanyIsAdmitted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &sim{window: 8, batch: 8, fail: func(texts []string) error {
			if len(texts) > 2 {
				return errFails
			}
			return nil
		}}
		require.NoError(t, fleet.DefaultAdmission().Admit(t.Context(), s, 8))
	})
}

// An engine that does not speak is not refused but sick, and what comes back after an
// outage is tried again: it may be another build.
func TestWhoeverComesBackIsAdmittedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		away := sickFor(time.Minute, time.Minute, errRefuses)
		b := &babbler{sim: sim{window: 4}, mended: time.Now().Add(10 * time.Minute)}
		b.fail = func(texts []string) error {
			if err := away(texts); err != nil {
				b.mu.Lock()
				b.how = half // the new build
				b.mu.Unlock()
				return err
			}
			return nil
		}
		f := admitting(t, fleet.DefaultAdmission(), b)
		time.Sleep(30 * time.Second)
		require.False(t, f.State().Waiting)
		book := newBook(f)
		time.Sleep(45 * time.Second)
		book.fleet.Speak(t.Context(), []engine.Request{{ID: "x", Text: "x", Voice: "v", Seconds: 1}}, func(int, fleet.Answer) {})
		require.True(t, f.State().Waiting)
		time.Sleep(2 * time.Minute)
		require.Equal(t, fleet.Misconfigured, f.State().Why)
		require.Contains(t, f.State().Reason, "otherwise than alone")
		require.Equal(t, job.Unavailable, job.KindOf(f.Probe(t.Context())))
	})
}
