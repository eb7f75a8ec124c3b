package outbox

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/platform/bus"
	"github.com/voicemill/voicemill/platform/lifecycle"
	"github.com/voicemill/voicemill/scheduler/internal/store"
)

// Config says how assemblies are let out. Start from [DefaultConfig].
type Config struct {
	Window     int           `help:"Chapters and jobs that may be out for joining." default:"64"`
	Tick       time.Duration `help:"How often the outbox is looked at when nothing happens." default:"200ms"`
	SweepAfter time.Duration `help:"Age at which a message is published again; twice the bus's ack_wait." default:"30s"`
	Grace      time.Duration `help:"How long a publish in hand may take after stop." default:"5s"`
}

// DefaultConfig returns the defaults that the tags of [Config] name.
func DefaultConfig() Config {
	return Config{Window: 64, Tick: 200 * time.Millisecond, SweepAfter: 30 * time.Second, Grace: 5 * time.Second}
}

// Validate reports the first setting that makes no sense.
func (c Config) Validate() error {
	switch {
	case c.Window < 1:
		return fmt.Errorf("outbox: window is %d; it must be positive", c.Window)
	case c.Tick <= 0 || c.Grace <= 0:
		return fmt.Errorf("outbox: tick is %s and grace %s; both must be positive", c.Tick, c.Grace)
	case c.SweepAfter <= c.Tick:
		return fmt.Errorf("outbox: sweep_after (%s) must exceed tick (%s)", c.SweepAfter, c.Tick)
	}
	return nil
}

const (
	settleTime = 20 * time.Millisecond // so that hints are taken together
	pauseTo    = 2 * time.Second       // between tries while the database or the bus is away
)

// Sender is the loop. Create it with [New]; Hint may be called by any
// goroutine at any time, Run by one at a time.
type Sender struct {
	cfg   Config
	store *store.Store
	bus   *bus.Bus
	log   *slog.Logger
	nudge chan struct{}
}

// New returns a Sender that is not running yet.
func New(cfg Config, s *store.Store, b *bus.Bus, log *slog.Logger) *Sender {
	return &Sender{cfg: cfg, store: s, bus: b, log: log, nudge: make(chan struct{}, 1)}
}

// Hint says that something may be due. It never blocks.
func (s *Sender) Hint() {
	select {
	case s.nudge <- struct{}{}:
	default:
	}
}

// Run sends what is due until ctx is done, then returns nil. Faults of the
// database and the bus are logged and waited out.
func (s *Sender) Run(ctx context.Context) error {
	work, cancel := lifecycle.Linger(ctx, s.cfg.Grace)
	defer cancel()
	var p pass
	tick := time.NewTicker(s.cfg.Tick)
	defer tick.Stop()
	pause, last := settleTime, ""
	for {
		if err := p.step(work, s); err == nil {
			pause, last = settleTime, ""
		} else {
			if err.Error() != last && ctx.Err() == nil {
				last = err.Error()
				s.log.WarnContext(ctx, "outbox waits", slog.String("error", last))
			}
			pause = min(max(2*pause, s.cfg.Tick), pauseTo)
		}
		timer := time.NewTimer(pause)
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-timer.C:
		}
		if last != "" {
			continue
		}
		select {
		case <-ctx.Done():
			return nil
		case <-s.nudge:
		case <-tick.C:
		}
	}
}

// pass is what one run remembers.
type pass struct {
	unsent []bus.Assembly // marked, but the bus did not take them
	swept  time.Time
}

func (p *pass) step(ctx context.Context, s *Sender) error {
	if len(p.unsent) == 0 {
		due, err := s.store.ReleaseAssemblies(ctx, s.cfg.Window)
		if err != nil {
			return fmt.Errorf("release assemblies: %w", err)
		}
		p.unsent = messages(due)
	}
	if err := p.send(ctx, s); err != nil {
		return err
	}
	return p.sweep(ctx, s)
}

func (p *pass) send(ctx context.Context, s *Sender) error {
	if len(p.unsent) == 0 {
		return nil
	}
	var left []bus.Assembly
	var last error
	for i, err := range s.bus.PublishAssembly(ctx, p.unsent) {
		switch {
		case err == nil:
		case job.Retryable(err):
			left, last = append(left, p.unsent[i]), err
		default:
			s.log.ErrorContext(ctx, "assembly cannot be published", slog.String("job_id", string(p.unsent[i].JobID)),
				slog.Int("chapter", p.unsent[i].Ordinal), slog.String("error", err.Error()))
		}
	}
	p.unsent = left
	if last != nil {
		return fmt.Errorf("publish %d assemblies: %w", len(left), last)
	}
	return nil
}

// sweep publishes again what has been out for long, and everything once after a start.
func (p *pass) sweep(ctx context.Context, s *Sender) error {
	age := s.cfg.SweepAfter
	if p.swept.IsZero() {
		age = 0
	} else if time.Since(p.swept) < age/2 {
		return nil
	}
	stale, err := s.store.StaleAssemblies(ctx, age, s.cfg.Window)
	if err != nil {
		return fmt.Errorf("sweep the outbox: %w", err)
	}
	p.swept = time.Now()
	for i, err := range s.bus.PublishAssembly(ctx, messages(stale)) {
		if err != nil {
			return fmt.Errorf("publish chapter %d of job %s again: %w", stale[i].Ordinal, stale[i].JobID, err)
		}
	}
	return nil
}

func messages(list []store.Assembly) []bus.Assembly {
	out := make([]bus.Assembly, len(list))
	for i, a := range list {
		out[i] = bus.Assembly{JobID: a.JobID, Ordinal: a.Ordinal, Attempt: a.Attempt}
	}
	return out
}
