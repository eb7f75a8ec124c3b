package fleet_test

import (
	"container/heap"
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/voicemill/voicemill/worker/internal/engine"
	"github.com/voicemill/voicemill/worker/internal/fleet"
)

// curve is the goodput of an engine, in seconds of sound a second, that has n texts.
type curve func(n float64, at time.Duration) float64

// through returns a curve through points (n, goodput), flat beyond the last.
func through(points ...[2]float64) curve {
	return func(n float64, _ time.Duration) float64 {
		before := [2]float64{}
		for _, p := range points {
			if n <= p[0] {
				return before[1] + (p[1]-before[1])*(n-before[0])/(p[0]-before[0])
			}
			before = p
		}
		return before[1]
	}
}

// Published measurements: CosyVoice3 on an H200 (sglang-omni #1715), CosyVoice2 with the
// DiT flow on an L20 (its README), CosyVoice3's vocoder in batches (sglang-omni #1655),
// Qwen3-TTS on an L40S (deep-learning-containers #6022).
//
//nolint:gochecknoglobals // tables
var (
	h200 = through([][2]float64{{1, 5.86}, {2, 9.19}, {4, 13.16}, {8, 13.54}, {16, 14.60}}...)
	l20  = through([][2]float64{{1, 8.1}, {2, 11.1}, {4, 13.5}, {6, 12.9}, {8, 14.5}, {10, 14.1}}...)
	hift = through([][2]float64{{1, 4.12}, {8, 16.3}, {16, 17.9}}...)
	qwen = through([][2]float64{{1, 4.1}, {4, 8.2}, {8, 13.0}, {16, 18.0}}...)
	// The L20 if it fell over beyond ten texts, as engines do whose memory is full.
	degrading = through([][2]float64{{1, 8.1}, {2, 11.1}, {4, 13.5}, {6, 12.9}, {8, 14.5}, {10, 14.1}, {16, 12}, {32, 8}, {64, 5}}...)
)

// worsens is the H200 until half of the time, and then falls over beyond six texts.
func worsens(half time.Duration) curve {
	return func(n float64, at time.Duration) float64 {
		if at < half {
			return h200(n, at)
		}
		return h200(n, at) * min(1, math.Pow(6/n, .6))
	}
}

const (
	wander     = .03 // log-normal, of the pace
	wanderTime = 10 * time.Second
	setup      = .15 // seconds of sound that each text costs beside its own
	noise      = .15 // log-normal, of a length beside its prediction
	runaways   = .005
	runaway    = 2.5 // times as long
	cut        = 2.8 // at most: an engine speaks 20 tokens for each of a text, and needs 7.2
)

// curved is a server that batches by itself: all that it has advance together.
type curved struct {
	curve curve
	begun time.Time
	end   context.CancelFunc
	ended chan struct{}
	nudge chan struct{} // capacity 1

	mu       sync.Mutex
	random   *rand.Rand // under mu
	off      float64    // logarithm of the pace beside the curve; under mu
	each     float64    // seconds of sound that each text had since begun; under mu
	last     time.Time  // of each; under mu
	speaking speaking   // under mu
	hangs    bool       // it advances nothing; under mu
	canaries int        // under mu
	left     int        // callers that left before the end; under mu
	leftAt   time.Time  // the first of these; under mu
	why      error      // of that; under mu
}

type sentence struct {
	ends   float64 // when each is so much
	spoken chan struct{}
}

// speaking is a heap, what ends first on top.
type speaking []*sentence

func (s speaking) Len() int           { return len(s) }
func (s speaking) Less(i, j int) bool { return s[i].ends < s[j].ends }
func (s speaking) Swap(i, j int)      { s[i], s[j] = s[j], s[i] }
func (s *speaking) Push(x any)        { *s = append(*s, x.(*sentence)) } //nolint:forcetypeassert // of its own
func (s *speaking) Pop() any {
	last := (*s)[len(*s)-1]
	*s = (*s)[:len(*s)-1]
	return last
}

// newCurved returns an engine in the bubble of ctx, whose end is its end.
func newCurved(ctx context.Context, c curve, seed int) *curved {
	ctx, cancel := context.WithCancel(ctx)
	now := time.Now()
	e := &curved{
		curve: c, begun: now, last: now, end: cancel, ended: make(chan struct{}), nudge: make(chan struct{}, 1),
		random: rand.New(rand.NewPCG(uint64(seed), 16)), //nolint:gosec // a test repeats itself
	}
	go e.run(ctx)
	return e
}

func (e *curved) Info() engine.Info {
	return engine.Info{
		Name: "curved", Model: "curved 1", Rate: rate, MaxBatch: 1, Window: mostAtOnce, MaxTextBytes: 1000,
		Voices: []engine.Voice{{Name: "v", Language: "en"}},
	}
}

func (e *curved) Close() error {
	e.end()
	<-e.ended
	return nil
}

func (e *curved) Synthesize(ctx context.Context, batch []engine.Request) ([]engine.Result, error) {
	e.mu.Lock()
	if batch[0].ID == fleet.CanaryID {
		e.canaries++
	}
	audio := batch[0].Seconds * math.Exp(noise*e.random.NormFloat64())
	if e.random.Float64() < runaways {
		audio = min(audio*runaway, cut*batch[0].Seconds)
	}
	e.mu.Unlock()
	if err := e.speak(ctx, audio); err != nil {
		return nil, engine.CallError("curved", err)
	}
	return []engine.Result{{Backend: "curved", Audio: engine.Audio{Rate: rate, Samples: hum[:min(len(hum), int(audio*rate))]}}}, nil
}

// speak returns when so much sound is spoken, or with the cause of ctx.
func (e *curved) speak(ctx context.Context, audio float64) error {
	s := &sentence{spoken: make(chan struct{})}
	e.mu.Lock()
	e.advance()
	s.ends = e.each + audio + setup
	heap.Push(&e.speaking, s)
	e.mu.Unlock()
	e.wake()
	select {
	case <-s.spoken:
		return nil
	case <-ctx.Done():
		e.leave(s, context.Cause(ctx))
		return context.Cause(ctx)
	case <-e.ended:
		return errors.New("closed")
	}
}

func (e *curved) wake() {
	select {
	case e.nudge <- struct{}{}:
	default: // it will look
	}
}

func (e *curved) leave(s *sentence, why error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.advance()
	for i, o := range e.speaking {
		if o == s {
			heap.Remove(&e.speaking, i)
			break
		}
	}
	if e.left++; e.left == 1 {
		e.leftAt, e.why = time.Now(), why
	}
	e.wake()
}

// hang has it advance nothing from now on, or again.
func (e *curved) hang(on bool) {
	e.mu.Lock()
	e.advance()
	e.hangs = on
	e.mu.Unlock()
	e.wake()
}

// advance is called under mu.
func (e *curved) advance() {
	now := time.Now()
	if len(e.speaking) > 0 && !e.hangs {
		e.each += now.Sub(e.last).Seconds() * e.pace()
	}
	e.last = now
}

// pace is that of each text. It is called under mu, with something to speak.
func (e *curved) pace() float64 {
	n := float64(len(e.speaking))
	return e.curve(n, e.last.Sub(e.begun)) / n * math.Exp(e.off)
}

// run ends with ctx.
func (e *curved) run(ctx context.Context) {
	defer close(e.ended)
	const tick = wanderTime / 2
	next := time.Now().Add(tick)
	timer := time.NewTimer(tick)
	defer timer.Stop()
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case <-e.nudge:
		case <-timer.C:
		}
		e.mu.Lock()
		e.advance()
		for len(e.speaking) > 0 && e.speaking[0].ends <= e.each+1e-9 {
			close(heap.Pop(&e.speaking).(*sentence).spoken) //nolint:forcetypeassert // of its own
		}
		now := time.Now()
		if !now.Before(next) {
			keeps := math.Exp(-tick.Seconds() / wanderTime.Seconds())
			e.off = keeps*e.off + wander*math.Sqrt(1-keeps*keeps)*e.random.NormFloat64()
			next = now.Add(tick)
		}
		due := next.Sub(now)
		if len(e.speaking) > 0 && !e.hangs {
			due = min(due, time.Duration(math.Ceil((e.speaking[0].ends-e.each)/e.pace()*float64(time.Second))))
		}
		e.mu.Unlock()
		timer.Reset(due)
	}
}
