package fleet

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/platform/lifecycle"
	"github.com/voicemill/voicemill/platform/resample"
	"github.com/voicemill/voicemill/worker/internal/check"
	"github.com/voicemill/voicemill/worker/internal/engine"
	"github.com/voicemill/voicemill/worker/internal/meter"
	"github.com/voicemill/voicemill/worker/internal/window"
)

// ErrWaits is wrapped by the error of a text for which there is no engine now.
// Nothing is known against the text.
var ErrWaits = errors.New("no engine of the pool is well")

// ErrVoice is wrapped by the error of a text whose voice the engines refuse, while
// they speak in others: that is a fault of the configuration.
var ErrVoice = errors.New("the engine refuses the voice")

// patience is how long a text waits in hand for an address that is full.
const patience = 5 * time.Second

// Config says how the engines of one pool are used.
type Config struct {
	Pool  string
	Rate  int // Hz that the voices are offered at; 0: the drivers' own
	Batch int // most texts of one Speak; 0: as many as the drivers take
	// Window is how many texts may be with all addresses together at least; 0: as many
	// as the drivers work on at once.
	Window int
	// Adapt finds how many of these each address should have: see package window. It is
	// for servers that make batches by themselves, with one text a call.
	Adapt bool
	Check check.Config
	// A call that takes longer than CallMin and CallFactor times its predicted
	// seconds has hung. Drivers have tighter bounds; this one catches a driver.
	CallMin    time.Duration
	CallFactor float64
	Admission  *Admission   // nil: an engine that speaks a canary is admitted. Those that the worker owns prove themselves
	Meter      *meter.Meter // may be nil
	Log        *slog.Logger
}

// Validate reports the first setting that makes no sense.
func (c Config) Validate() error {
	if err := c.Check.Validate(); err != nil {
		return fmt.Errorf("pool %s: check: %w", c.Pool, err)
	}
	if c.CallMin <= 0 || !(c.CallFactor > 0) || min(c.Rate, c.Batch, c.Window) < 0 {
		return fmt.Errorf("pool %s: call_min %s and call_factor %g must be positive, rate %d, batch %d and window %d not negative",
			c.Pool, c.CallMin, c.CallFactor, c.Rate, c.Batch, c.Window)
	}
	if c.Adapt && c.Batch > 1 {
		return fmt.Errorf("pool %s: the window of calls of %d texts is not found, only that of single texts", c.Pool, c.Batch)
	}
	if c.Admission != nil {
		if err := c.Admission.Validate(); err != nil {
			return fmt.Errorf("pool %s: %w", c.Pool, err)
		}
	}
	return nil
}

// Why is why a pool waits, in one word that anybody may see.
type Why string

// The words.
const (
	Starting      Why = "starting"      // no engine has spoken yet
	Misconfigured Why = "misconfigured" // an engine refuses everything
	Overloaded    Why = "overloaded"    // the engines want to be left alone
	Sick          Why = "sick"          // the engines fail, or cannot be reached
)

// State is how a pool is.
type State struct {
	Waiting bool      // it takes no work
	Since   time.Time // of that
	Why     Why       // while it waits
	Reason  string    // why it waits, for the operator: it may name addresses
	Well    int       // addresses that are well
	All     int       // addresses
}

// member is one address.
type member struct {
	name   string
	driver engine.Engine
	info   engine.Info
	most   int              // texts that it may ever have at once
	asking chan struct{}    // capacity 1: one canary at a time
	nudge  lifecycle.Signal // a call began

	health                  // under Fleet.mu
	progress                // under Fleet.mu
	found    *window.Window // under Fleet.mu; nil: it gets its whole window
	asked    inquiry        // the last canary that settled a doubt; under Fleet.mu
	admitted bool           // it speaks in company as alone; under Fleet.mu
}

// inquiry is what a canary showed.
type inquiry struct {
	call            uint64 // its number
	voice, language string
	proof           proof
}

// Fleet is the engines of one pool. It is safe for concurrent use.
type Fleet struct {
	cfg     Config
	log     *slog.Logger
	info    engine.Info
	history *check.History  // of the voices
	life    context.Context //nolint:containedctx // of the watchers, until Close
	end     context.CancelFunc
	watches sync.WaitGroup

	mu       sync.Mutex
	members  []*member     // the slice itself does not change
	suspects suspects      // under mu
	state    State         // under mu
	changed  chan struct{} // under mu; closed and replaced at each change
}

// New returns a Fleet of drivers that speak for the same model. Each must prove
// itself before it gets work, which New does not wait for. Close closes them.
func New(cfg Config, drivers ...engine.Engine) (*Fleet, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if len(drivers) == 0 {
		return nil, fmt.Errorf("pool %s: no engines", cfg.Pool)
	}
	now := time.Now()
	f := &Fleet{cfg: cfg, log: cfg.Log, history: check.NewHistory(), changed: make(chan struct{})}
	f.life, f.end = context.WithCancel(context.Background()) //nolint:forbidigo // Close ends it
	f.info = drivers[0].Info()
	f.info.Window = 0
	for i, d := range drivers {
		info := d.Info()
		f.info.Window += info.Window
		name := info.Address
		if name == "" {
			name = fmt.Sprintf("%s-%d", info.Name, i+1)
		}
		most := max(info.Window, (cfg.Window+len(drivers)-1)/len(drivers))
		m := &member{name: name, driver: d, info: info, most: most, asking: make(chan struct{}, 1), nudge: lifecycle.NewSignal(), health: newHealth(most, now)}
		if cfg.Adapt {
			m.found = window.New(window.Config{Most: most}, now)
			m.fit()
		}
		f.members = append(f.members, m)
	}
	f.info.MaxBatch = max(f.info.MaxBatch, cfg.Batch)
	if cfg.Rate > 0 && cfg.Rate != f.info.Rate {
		if _, err := resample.New(f.info.Rate, cfg.Rate); err != nil { // found out now, it costs no text
			f.end()
			return nil, fmt.Errorf("pool %s: %w", cfg.Pool, err)
		}
		f.info.Rate = cfg.Rate
	}
	f.mu.Lock()
	f.settleLocked(now)
	f.mu.Unlock()
	for _, m := range f.members {
		f.watches.Go(func() { f.watch(m) }) // ends with life, which Close ends
		f.watches.Go(func() { f.guard(m) }) // the same
		if o, ok := m.driver.(engine.Owned); ok {
			f.watches.Go(func() { f.wake(m, o.Woken()) }) // the same
		}
	}
	return f, nil
}

// Info describes the fleet as one engine. Audio may come at other rates than
// Info().Rate: drivers do not resample.
func (f *Fleet) Info() engine.Info { return f.info }

// Close ends calls in progress and closes the drivers. A second call does nothing.
func (f *Fleet) Close() error {
	f.end()
	errs := make([]error, len(f.members))
	var closing sync.WaitGroup
	for i, m := range f.members { // side by side: a process may take its time
		closing.Go(func() { errs[i] = m.driver.Close() })
	}
	closing.Wait()
	f.watches.Wait()
	return errors.Join(errs...)
}

// State returns how the pool is.
func (f *Fleet) State() State {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.settleLocked(time.Now())
	return f.state
}

// Ready reports whether the pool takes work, and returns a channel that is closed
// when that may have changed.
func (f *Fleet) Ready() (bool, <-chan struct{}) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.settleLocked(time.Now())
	return !f.state.Waiting, f.changed
}

// Probe returns nil if a text that came now would find an engine that works, as far
// as can be seen without speaking, and else an error of kind Unavailable.
func (f *Fleet) Probe(ctx context.Context) error {
	if s := f.State(); s.Waiting {
		return &job.Error{Op: "fleet.Probe", Kind: job.Unavailable, Public: "No engine of the pool is well.", Err: errors.New(s.Reason)}
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	results := make(chan error, len(f.members))
	for _, m := range f.members {
		go func() { results <- f.reach(ctx, m) }() // ends with ctx
	}
	var errs []error
	for range f.members {
		err := <-results
		if err == nil {
			return nil
		}
		errs = append(errs, err)
	}
	return &job.Error{Op: "fleet.Probe", Kind: job.Unavailable, Public: "No engine of the pool can be reached.", Err: errors.Join(errs...)}
}

func (f *Fleet) reach(ctx context.Context, m *member) error {
	f.mu.Lock()
	phase, why := m.phase, m.why
	f.mu.Unlock()
	if phase != well {
		return fmt.Errorf("%s: %s", m.name, why)
	}
	if p, ok := m.driver.(engine.Prober); ok {
		return p.Probe(ctx)
	}
	return nil
}

// change does g under the lock and tells everybody who waits.
func (f *Fleet) change(g func(now time.Time)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	now := time.Now()
	g(now)
	f.settleLocked(now)
	close(f.changed)
	f.changed = make(chan struct{})
}

// settleLocked works out how the pool is.
func (f *Fleet) settleLocked(now time.Time) {
	s := State{Waiting: true, All: len(f.members)}
	var first *member // who says why
	for _, m := range f.members {
		if m.phase == well {
			s.Well++
			if m.restUntil.Sub(now) <= patience {
				s.Waiting = false
			}
		}
		if first == nil || m.wrong && !first.wrong {
			first = m
		}
	}
	if s.Waiting {
		s.Since, s.Reason, s.Why = now, first.name+": "+first.why, first.state()
		if first.phase == well {
			s.Reason = first.name + ": it asks to be left alone"
		}
		if f.state.Waiting {
			s.Since = f.state.Since
		}
	}
	if s.Waiting != f.state.Waiting || s.Why != f.state.Why {
		f.tell(s)
	}
	f.state = s
	f.cfg.Meter.Fleet(f.cfg.Pool, s.Waiting, s.Well, s.All-s.Well)
	r := f.roomLocked()
	f.cfg.Meter.Window(f.cfg.Pool, r.All, r.Eased)
}

func (f *Fleet) tell(s State) {
	switch {
	case !s.Waiting:
		f.log.InfoContext(f.life, "the pool works")
	case s.Why == Misconfigured:
		f.log.ErrorContext(f.life, "the pool is misconfigured and waits", slog.String("reason", s.Reason))
	default:
		f.log.WarnContext(f.life, "the pool waits", slog.String("reason", s.Reason))
	}
}
