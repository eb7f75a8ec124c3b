package release

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

// Config says how work is let out. Start from [DefaultConfig].
type Config struct {
	Window           time.Duration `help:"How long the work that is out keeps a pool busy, at its own pace." default:"1500ms"`
	WindowSeconds    float64       `help:"Predicted seconds of audio that may be out in a lane whatever the pace." default:"60"`
	MinSegments      int           `help:"Segments that may be out in a lane whatever their length." default:"32"`
	MaxSegments      int           `help:"Segments that may be out in a lane at most." default:"4096"`
	BundleSeconds    float64       `help:"Predicted seconds of audio that a tenant lets out in one turn." default:"15"`
	BundleSegments   int           `help:"Segments that a tenant lets out in one turn." default:"16"`
	InteractiveShare float64       `help:"Share of a pool that interactive work may take while bulk work waits." default:"0.8"`
	Tick             time.Duration `help:"How often the window is looked at when nothing happens." default:"100ms"`
	SweepAfter       time.Duration `help:"Age at which a released segment is published again; twice the bus's ack_wait." default:"30s"`
	Grace            time.Duration `help:"How long a release in hand may take after stop." default:"5s"`
}

// DefaultConfig returns the defaults that the tags of [Config] name.
func DefaultConfig() Config {
	return Config{
		Window: 1500 * time.Millisecond, WindowSeconds: 60, MinSegments: 32, MaxSegments: 4096,
		BundleSeconds: 15, BundleSegments: 16, InteractiveShare: 0.8,
		Tick: 100 * time.Millisecond, SweepAfter: 30 * time.Second, Grace: 5 * time.Second,
	}
}

// Validate reports the first setting that makes no sense.
func (c Config) Validate() error {
	if err := c.window().validate(); err != nil {
		return err
	}
	switch {
	case c.BundleSeconds <= 0 || c.BundleSegments < 1:
		return fmt.Errorf("release: bundle_seconds is %v and bundle_segments %d; both must be positive", c.BundleSeconds, c.BundleSegments)
	case c.BundleSeconds > c.WindowSeconds:
		return fmt.Errorf("release: bundle_seconds (%v) must not exceed window_seconds (%v)", c.BundleSeconds, c.WindowSeconds)
	case !(c.InteractiveShare > 0 && c.InteractiveShare < 1):
		return fmt.Errorf("release: interactive_share is %v; it must be between 0 and 1", c.InteractiveShare)
	case c.Tick <= 0 || c.SweepAfter <= 0 || c.Grace <= 0:
		return fmt.Errorf("release: tick is %s, sweep_after %s, grace %s; all must be positive", c.Tick, c.SweepAfter, c.Grace)
	case c.SweepAfter <= c.Tick:
		return fmt.Errorf("release: sweep_after (%s) must exceed tick (%s)", c.SweepAfter, c.Tick)
	}
	return nil
}

func (c Config) window() WindowConfig {
	return WindowConfig{Work: c.Window, MinSeconds: c.WindowSeconds, MinSegments: c.MinSegments, MaxSegments: c.MaxSegments}
}

func (c Config) queue() QueueConfig {
	return QueueConfig{BundleSeconds: c.BundleSeconds, BundleSegments: c.BundleSegments, InteractiveShare: c.InteractiveShare}
}

const (
	noticeBacklog = 4096                  // jobs announced and not looked at yet; more are found by the scan
	jobsPerTenant = 256                   // of a class, in memory
	fillSegments  = 64                    // of one lot, in memory
	keepAccounts  = 10_000                // tenants remembered while they have nothing queued
	settleTime    = 20 * time.Millisecond // between two looks at the window, so that hints are taken together
	scanEvery     = time.Second           // for jobs that nobody announced
	scanShare     = 20                    // a scan may take one part in so many of the time
	pauseTo       = 2 * time.Second       // between tries while the database or the bus is away
)

// Deps are the parts a Releaser works with; all are needed.
type Deps struct {
	Store *store.Store
	Bus   *bus.Bus
	Log   *slog.Logger
	// Observe is told of every change that metrics show.
	Observe func(Event)
}

// Event is something that a Releaser did.
type Event struct {
	Pool     string
	Class    job.Class
	Released int // segments let out
	Swept    int // segments published again
}

// Releaser is the loop. Create it with [New]; Notice and Hint may be called by
// any goroutine at any time, Run by one at a time.
type Releaser struct {
	cfg     Config
	deps    Deps
	notices chan job.ID
	nudge   chan struct{}
}

// New returns a Releaser that is not running yet.
func New(cfg Config, deps Deps) *Releaser {
	return &Releaser{cfg: cfg, deps: deps, notices: make(chan job.ID, noticeBacklog), nudge: make(chan struct{}, 1)}
}

// Notice says that jobs have segments to release. It never blocks; what does
// not fit is found by the scan within a second or so.
func (r *Releaser) Notice(ids ...job.ID) {
	for _, id := range ids {
		select {
		case r.notices <- id:
		default:
			return
		}
	}
}

// Hint says that something changed: segments may be final. It never blocks.
func (r *Releaser) Hint() {
	select {
	case r.nudge <- struct{}{}:
	default:
	}
}

// Run releases work until ctx is done, then finishes the release in hand and
// returns nil. Faults of the database and the bus are logged and waited out.
func (r *Releaser) Run(ctx context.Context) error {
	work, cancel := lifecycle.Linger(ctx, r.cfg.Grace)
	defer cancel()
	p := newPass(r)
	tick := time.NewTicker(r.cfg.Tick)
	defer tick.Stop()
	pause, last := settleTime, ""
	for {
		err := p.step(work)
		switch {
		case ctx.Err() != nil:
			return nil
		case err == nil:
			pause, last = settleTime, ""
		default:
			if err.Error() != last {
				last = err.Error()
				r.deps.Log.WarnContext(ctx, "release waits", slog.String("error", last), slog.String("kind", job.KindOf(err).String()))
			}
			pause = min(max(2*pause, r.cfg.Tick), pauseTo)
		}
		if !sleep(ctx, pause) {
			return nil
		}
		if err != nil {
			continue
		}
		select {
		case <-ctx.Done():
			return nil
		case id := <-r.notices:
			p.noticed = append(p.noticed, id)
		case <-r.nudge:
		case <-tick.C:
		}
	}
}

func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
