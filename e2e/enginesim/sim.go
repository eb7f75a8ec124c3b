package enginesim

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"google.golang.org/grpc"
)

const (
	slowTimes   = 5
	slowSeconds = 1.0
	runaway     = 2.8 // times as long: 20 tokens for each of the text where 7.2 are usual
	maxVoices   = 10_000
)

// Stats says what a [Sim] did.
type Stats struct {
	Texts    int           `json:"texts"`
	InFlight int           `json:"in_flight"`
	Most     int           `json:"most"`    // in flight at once
	Seconds  float64       `json:"seconds"` // of sound
	Batches  map[int]int   `json:"batches"` // texts by how many were spoken together
	Faults   map[Fault]int `json:"faults"`
	// Instructed are texts by the instructions that they were spoken with.
	Instructed map[string]int `json:"instructed"`
}

// Sim is a simulated engine.
type Sim struct {
	cfg    Config
	engine *engine

	mu     sync.Mutex
	chance *rand.Rand        // under mu
	faults Faults            // under mu
	stats  Stats             // under mu
	leaked [][]byte          // under mu
	voices map[string]string // under mu; transcript of a reference to the voice that it was heard in first
}

// New returns a Sim that [Sim.Serve] runs.
func New(cfg Config) (*Sim, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("enginesim: %w", err)
	}
	return &Sim{
		cfg: cfg, engine: newEngine(cfg), faults: cfg.Faults, voices: map[string]string{},
		chance: rand.New(rand.NewPCG(cfg.Seed, cfg.Seed)), //nolint:gosec // not a secret
		stats:  Stats{Batches: map[int]int{}, Faults: map[Fault]int{}, Instructed: map[string]int{}},
	}, nil
}

// Serve answers on both listeners until ctx ends, and closes them.
func (s *Sim) Serve(ctx context.Context, web, rpc net.Listener) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	h := &http.Server{Handler: s.handler(), ReadHeaderTimeout: 10 * time.Second, BaseContext: func(net.Listener) context.Context { return ctx }}
	g := grpc.NewServer(grpc.MaxRecvMsgSize(maxRequest))
	s.register(g) //nolint:contextcheck // a stream has its own
	var running sync.WaitGroup
	running.Go(func() { s.engine.run(ctx) })
	errs := make(chan error, 2)
	running.Go(func() { errs <- h.Serve(web) })
	running.Go(func() { errs <- g.Serve(rpc) })
	var err error
	select {
	case <-ctx.Done():
	case err = <-errs:
		cancel()
	}
	g.Stop()
	_ = h.Close()
	running.Wait()
	if err != nil && !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("enginesim: %w", err)
	}
	return nil
}

// errMemory is what a batch that is too large for memory ends with.
var errMemory = errors.New("CUDA out of memory")

// spoken is what came of a text.
type spoken struct {
	samples []float32
	tokens  int
	limited bool // the model was stopped at its limit
	fault   Fault
}

// speak takes the time for text and returns its sound. The error is of ctx, or
// errMemory; whoever answers deals with the fault.
func (s *Sim) speak(ctx context.Context, voice, text string, speed float64) (spoken, error) {
	seconds, fault, done := s.begin(text)
	defer done()
	switch fault {
	case Hang:
		<-ctx.Done()
		return spoken{}, context.Cause(ctx)
	case Crash:
		if s.cfg.Crash != nil {
			s.cfg.Crash()
		}
		return spoken{fault: Error}, nil
	case Error, Busy, Refuse:
		return spoken{fault: fault}, nil
	default:
	}
	said := spoken{fault: fault}
	limit := float64(s.cfg.MaxTokens) / tokensPerSecond
	if seconds >= limit {
		seconds, said.limited = limit, true
	}
	work := seconds
	if fault == Slow {
		work = seconds*slowTimes + slowSeconds*s.cfg.Speedup
	}
	if err := s.delay(ctx, fault); err != nil {
		return spoken{}, err
	}
	company, err := s.engine.speak(ctx, work)
	if err != nil {
		return spoken{}, err
	}
	if company, err = s.spokenWith(company, seconds); err != nil {
		return spoken{}, err
	}
	said.tokens = int(math.Round(seconds * tokensPerSecond))
	if fault == Differ && company > 1 {
		voice, seconds = voice+" in another key", seconds/2
	}
	if !said.limited {
		seconds = max(seconds, .1)
	}
	said.samples = Sound(voice, text, seconds/speed, s.cfg.Rate)
	switch fault {
	case Truncate:
		said.samples = said.samples[:len(said.samples)/2]
	case Silence:
		clear(said.samples)
	default:
	}
	return said, nil
}

// delay makes a slow text slow where nothing else takes time.
func (s *Sim) delay(ctx context.Context, fault Fault) error {
	if fault != Slow || s.cfg.Cost != nil {
		return nil
	}
	select {
	case <-time.After(time.Duration(slowSeconds * float64(time.Second))):
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// begin draws the length and the fault of text, and counts it.
func (s *Sim) begin(text string) (seconds float64, fault Fault, done func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	seconds = .2 + float64(utf8.RuneCountInString(text))/s.cfg.CPS
	if s.cfg.Noise > 0 {
		seconds *= math.Exp(s.cfg.Noise * s.chance.NormFloat64())
	}
	if s.cfg.Runaways > 0 && s.chance.Float64() < s.cfg.Runaways {
		seconds *= runaway
	}
	fault = s.faults.pick(text, s.chance)
	if fault != "" {
		s.stats.Faults[fault]++
	}
	if n := s.faults.LeakKB; n > 0 {
		leak := make([]byte, n<<10)
		for i := 0; i < len(leak); i += 4096 {
			leak[i] = 1 // so that it is really there
		}
		s.leaked = append(s.leaked, leak)
	}
	s.stats.Texts++
	s.stats.InFlight++
	s.stats.Most = max(s.stats.Most, s.stats.InFlight)
	return seconds, fault, func() {
		s.mu.Lock()
		s.stats.InFlight--
		s.mu.Unlock()
	}
}

// spokenWith counts a text that was spoken, with so many together. Where the engine
// takes no time, these are all that are there.
func (s *Sim) spokenWith(company int, seconds float64) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cfg.Cost == nil {
		company = s.stats.InFlight
	}
	if most := s.faults.OOMAbove; most > 0 && company > most {
		return company, errMemory
	}
	s.stats.Seconds += seconds
	s.stats.Batches[company]++
	return company, nil
}

// manner is voice, speaking as instructions say, which are counted.
func (s *Sim) manner(voice, instructions string) string {
	if instructions == "" {
		return voice
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.stats.Instructed) >= maxVoices {
		clear(s.stats.Instructed)
	}
	s.stats.Instructed[instructions]++
	return Manner(voice, instructions)
}

// endOfPrompt is what CosyVoice3 is told how to speak before, in the transcript of a reference.
const endOfPrompt = "<|endofprompt|>"

// prompted returns the instructions that stand before a transcript, "" if there are none.
func prompted(transcript string) string {
	before, _, found := strings.Cut(transcript, endOfPrompt)
	if !found {
		return ""
	}
	return strings.TrimSpace(strings.TrimPrefix(before, "You are a helpful assistant."))
}

// voice is who speaks: by the transcript of the reference alone, as the official runtime
// has it. Whoever gave it first is heard.
func (s *Sim) voice(transcript, reference string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if known, ok := s.voices[transcript]; ok {
		return known
	}
	if len(s.voices) >= maxVoices {
		clear(s.voices)
	}
	s.voices[transcript] = reference
	return reference
}
