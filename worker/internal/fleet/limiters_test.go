package fleet_test

import (
	"context"
	"log/slog"
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/failsafe-go/failsafe-go/adaptivelimiter"
	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/worker/internal/check"
	"github.com/voicemill/voicemill/worker/internal/engine"
	"github.com/voicemill/voicemill/worker/internal/fleet"
)

const (
	mostAtOnce = 64 // texts that an engine may have
	callers    = 100
	length     = 80 * time.Minute
)

// limiter lets texts through to an engine. speak waits for a place, says from when on the
// text was with the engine, and returns how much good sound came of it.
type limiter interface {
	speak(ctx context.Context, r engine.Request) (audio float64, began time.Time)
}

// direct is the engine as it is, without anybody who judges.
type direct struct{ *curved }

func (d direct) say(ctx context.Context, r engine.Request) float64 {
	results, err := d.Synthesize(ctx, []engine.Request{r})
	if err != nil {
		return 0
	}
	return results[0].Audio.Seconds()
}

// fixed is a window that does not change.
type fixed struct {
	direct

	places chan struct{}
}

func (f fixed) speak(ctx context.Context, r engine.Request) (float64, time.Time) {
	select {
	case f.places <- struct{}{}:
		defer func() { <-f.places }()
	case <-ctx.Done():
		return 0, time.Now()
	}
	began := time.Now()
	return f.say(ctx, r), began
}

// failsafe is failsafe-go's adaptive limiter, with its own settings but for the bounds.
type failsafe struct {
	direct

	limiter adaptivelimiter.AdaptiveLimiter[any]
}

func newFailsafe(d direct) failsafe {
	return failsafe{d, adaptivelimiter.NewBuilder[any]().WithLimits(1, mostAtOnce, 20).Build()}
}

func (f failsafe) speak(ctx context.Context, r engine.Request) (float64, time.Time) {
	permit, err := f.limiter.AcquirePermit(ctx)
	if err != nil {
		return 0, time.Now()
	}
	began := time.Now()
	audio := f.say(ctx, r)
	permit.Record()
	return audio, began
}

// found is a fleet that finds its window, filled as package consume fills it: with as
// many texts as it should have, and while interactive work comes as many as bulk gets.
type found struct {
	*fleet.Fleet

	eased   bool
	mu      sync.Mutex
	running int           // under mu
	freed   chan struct{} // closed and replaced when a text has ended; under mu
}

func newFound(t *testing.T, e *curved, eased bool) *found {
	t.Helper()
	f, err := fleet.New(fleet.Config{Pool: "p", Adapt: true, Check: check.Default(), CallMin: time.Minute, CallFactor: 20, Log: slog.New(slog.DiscardHandler)}, e)
	require.NoError(t, err)
	f.Ease(eased)
	return &found{Fleet: f, eased: eased, freed: make(chan struct{})}
}

func (f *found) enter(ctx context.Context) bool {
	for {
		ready, changed := f.Ready()
		room := f.Room()
		most := room.All
		if f.eased {
			most = room.Eased
		}
		f.mu.Lock()
		freed := f.freed
		if ready && f.running < most {
			f.running++
			f.mu.Unlock()
			return true
		}
		f.mu.Unlock()
		select {
		case <-changed:
		case <-freed:
		case <-ctx.Done():
			return false
		}
	}
}

func (f *found) speak(ctx context.Context, r engine.Request) (audio float64, began time.Time) {
	if !f.enter(ctx) {
		return 0, time.Now()
	}
	began = time.Now()
	f.Speak(ctx, []engine.Request{r}, func(_ int, a fleet.Answer) {
		if a.Err == nil {
			audio = a.Audio.Seconds()
		}
	})
	f.mu.Lock()
	f.running--
	close(f.freed)
	f.freed = make(chan struct{})
	f.mu.Unlock()
	return audio, began
}

// outcome is what a limiter made of an engine.
type outcome struct {
	goodput float64 // seconds of good sound a second
	p95     float64 // seconds that a text was with the engine
}

// prose draws predicted seconds of texts.
type prose func(r *rand.Rand) float64

// packed is what the planner makes of prose: at most 18 s, 13.1 on average.
func packed(r *rand.Rand) float64 {
	const sigma = .367 // a coefficient of variation of .38
	return min(18, 13.1*math.Exp(sigma*r.NormFloat64()-sigma*sigma/2))
}

// novel is single sentences.
func novel(r *rand.Rand) float64 {
	const sigma = .757
	return min(18, .2+92*math.Exp(sigma*r.NormFloat64()-sigma*sigma/2)/15.2)
}

// simulate has many callers read prose without end, in virtual time.
func simulate(t *testing.T, c curve, p prose, seed int, open func(t *testing.T, e *curved) limiter) (o outcome) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		e := newCurved(t.Context(), c, seed)
		defer func() { require.NoError(t, e.Close()) }()
		l := open(t, e)
		if f, ok := l.(*found); ok {
			defer func() { require.NoError(t, f.Close()) }()
		}
		ctx, cancel := context.WithTimeout(t.Context(), length)
		defer cancel()
		random := rand.New(rand.NewPCG(uint64(seed), 17)) //nolint:gosec // a test repeats itself
		var mu sync.Mutex
		var took []float64
		var readers sync.WaitGroup
		sum, n := 0.0, 0
		for range callers {
			readers.Go(func() {
				for ctx.Err() == nil {
					mu.Lock()
					n++
					r := request(p(random), n)
					mu.Unlock()
					audio, began := l.speak(ctx, r)
					if ctx.Err() == nil {
						mu.Lock()
						sum, took = sum+audio, append(took, time.Since(began).Seconds())
						mu.Unlock()
					}
				}
			})
		}
		readers.Wait()
		slices.Sort(took)
		o = outcome{sum / length.Seconds(), took[len(took)*95/100]}
	})
	return o
}

// request is a text of so many predicted seconds that no other is like.
func request(seconds float64, n int) engine.Request {
	name := "Text " + strings.Map(func(r rune) rune { return r - '0' + 'a' }, strconv.Itoa(n))
	return engine.Request{ID: name, Text: name + strings.Repeat(" and so on", int(seconds*1.5)), Voice: "v", Language: "en", Seconds: seconds}
}
