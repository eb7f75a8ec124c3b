package fleet_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/platform/testkit"
	"github.com/voicemill/voicemill/worker/internal/check"
	"github.com/voicemill/voicemill/worker/internal/engine"
	"github.com/voicemill/voicemill/worker/internal/fleet"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const rate = 1000 // Hz; nobody listens

// sim is a driver whose backend fails as a test says. It speaks ten times as fast
// as a reader.
type sim struct {
	batch, window int
	fail          func(texts []string) error // of the call; nil: well
	each          func(r engine.Request) error
	mute          func(r engine.Request) bool

	mu       sync.Mutex
	calls    [][]string // without canaries
	canaries int
	inFlight int
	most     int
}

func (s *sim) Info() engine.Info {
	return engine.Info{
		Name: "sim", Model: "sim 1", Rate: rate, MaxBatch: max(1, s.batch), Window: max(1, s.window), MaxTextBytes: 1000,
		Voices: []engine.Voice{{Name: "v", Language: "en"}, {Name: "w", Language: "en"}},
	}
}

func (s *sim) Close() error { return nil }

func (s *sim) Synthesize(ctx context.Context, batch []engine.Request) ([]engine.Result, error) {
	s.begin(batch)
	defer func() { s.mu.Lock(); s.inFlight -= len(batch); s.mu.Unlock() }()
	var texts []string
	longest := 0.0
	for _, r := range batch {
		texts = append(texts, r.Text)
		longest = max(longest, r.Seconds)
	}
	if s.fail != nil {
		if err := s.fail(texts); err != nil {
			if errors.Is(err, errHangs) {
				<-ctx.Done()
				return nil, engine.CallError("sim", context.Cause(ctx))
			}
			if err := sleep(ctx, 10*time.Millisecond); err != nil {
				return nil, engine.CallError("sim", err)
			}
			return s.all(batch, err), nil
		}
	}
	if err := sleep(ctx, time.Duration(longest*float64(time.Second)/10)); err != nil {
		return nil, engine.CallError("sim", err)
	}
	if s.fail != nil { // what is in flight when it falls sick fails with it
		if err := s.fail(texts); err != nil && !errors.Is(err, errHangs) {
			return s.all(batch, err), nil
		}
	}
	results := make([]engine.Result, len(batch))
	for i, r := range batch {
		results[i] = engine.Result{Backend: "sim", Audio: tone(r.Expected(), s.mute != nil && s.mute(r))}
		if s.each != nil {
			if err := s.each(r); err != nil {
				results[i] = engine.Result{Backend: "sim", Err: err}
			}
		}
	}
	return results, nil
}

func (s *sim) begin(batch []engine.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.inFlight += len(batch)
	s.most = max(s.most, s.inFlight)
	if batch[0].ID == fleet.CanaryID {
		s.canaries++
		return
	}
	var texts []string
	for _, r := range batch {
		texts = append(texts, r.Text)
	}
	s.calls = append(s.calls, texts)
}

func (s *sim) all(batch []engine.Request, err error) []engine.Result {
	results := make([]engine.Result, len(batch))
	for i := range results {
		results[i] = engine.Result{Backend: "sim", Err: err}
	}
	return results
}

func (s *sim) counts() (calls, canaries int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.calls), s.canaries
}

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// hum is two minutes of sound: computing it for each text takes longer than all else.
//
//nolint:gochecknoglobals // a table
var hum = func() []int16 {
	samples := make([]int16, 120*rate)
	for i := range samples {
		samples[i] = int16(9000 * math.Sin(float64(i)/3))
	}
	return samples
}()

func tone(seconds float64, mute bool) engine.Audio {
	samples := make([]int16, int(seconds*rate))
	for from := 0; from < len(samples) && !mute; {
		from += copy(samples[from:], hum)
	}
	return engine.Audio{Rate: rate, Samples: samples}
}

// The ways in which a backend fails.
var (
	errHangs   = errors.New("it hangs")
	errFails   = &job.Error{Op: "sim", Kind: job.Engine, Public: "status 500"}
	errResets  = &job.Error{Op: "sim", Kind: job.Engine, Err: engine.ErrLost}
	errDies    = &job.Error{Op: "sim", Kind: job.Engine, Err: errors.Join(engine.ErrLost, engine.ErrDied)}
	errRefuses = &job.Error{Op: "sim", Kind: job.Unavailable, Err: errors.New("connection refused")}
	errInvalid = &job.Error{Op: "sim", Kind: job.Invalid, Public: "status 400: no such model"}
	errFull    = &job.Error{Op: "sim", Kind: job.Overloaded, Err: &engine.BusyError{After: 7 * time.Second}}
)

func open(t *testing.T, drivers ...engine.Engine) *fleet.Fleet {
	t.Helper()
	f, err := fleet.New(fleet.Config{Pool: "p", Check: check.Default(), CallMin: 15 * time.Second, CallFactor: 1, Log: testkit.Log(t)}, drivers...)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, f.Close()) })
	return f
}

// book is texts on their way through a fleet, as the worker takes them there: what
// nobody is charged for comes again, what is charged as often as attempts allow.
type book struct {
	fleet    *fleet.Fleet
	attempts int

	mu      sync.Mutex
	done    map[string]bool
	charged map[string]int
	failed  map[string]error
	back    int // texts that were given back
}

func newBook(f *fleet.Fleet) *book {
	return &book{fleet: f, attempts: 3, done: map[string]bool{}, charged: map[string]int{}, failed: map[string]error{}}
}

// read has texts spoken, so many in one Speak and so many Speaks at once, until all
// are done or have failed, or ctx is done.
func (b *book) read(ctx context.Context, texts []string, batch, calls int) {
	work := make(chan []string, len(texts)+1)
	var left sync.WaitGroup
	for from := 0; from < len(texts); from += batch {
		left.Add(1)
		work <- texts[from:min(from+batch, len(texts))]
	}
	go func() { left.Wait(); close(work) }()
	var readers sync.WaitGroup
	for range calls {
		readers.Go(func() {
			for texts := range work {
				for len(texts) > 0 && ctx.Err() == nil {
					texts = b.speak(ctx, texts)
				}
				left.Done()
			}
		})
	}
	readers.Wait()
}

func (b *book) speak(ctx context.Context, texts []string) (rest []string) {
	for {
		ready, changed := b.fleet.Ready()
		if ready {
			break
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil
		}
	}
	var batch []engine.Request
	for _, text := range texts {
		batch = append(batch, engine.Request{ID: text, Text: text, Voice: "v", Seconds: 0.5 + float64(len(text))/15})
	}
	b.fleet.Speak(ctx, batch, func(i int, a fleet.Answer) {
		b.mu.Lock()
		defer b.mu.Unlock()
		text := texts[i]
		kind := job.KindOf(a.Err)
		switch {
		case a.Err == nil:
			b.done[text] = true
		case kind == job.Unavailable || kind == job.Overloaded:
			b.back++
			rest = append(rest, text)
		default:
			b.charged[text]++
			if b.charged[text] >= b.attempts || kind == job.Invalid || errors.Is(a.Err, engine.ErrPoison) {
				b.failed[text] = a.Err
			} else {
				rest = append(rest, text)
			}
		}
	})
	return rest
}

func texts(n int) (all []string) {
	for i := range n {
		all = append(all, fmt.Sprintf("This is text number %d%s.", i, strings.Repeat(", and on it goes", i%5)))
	}
	return all
}
