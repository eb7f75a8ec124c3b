package shed

import (
	"fmt"
	"math"
	"sync"
	"time"

	"github.com/voicemill/voicemill/job"
)

// Band is where refusing begins and where everything is refused.
type Band struct{ From, Full time.Duration }

// Config shapes a Controller. Start from [DefaultConfig].
type Config struct {
	Bulk, Interactive Band          // of the intake's latency
	Memory            time.Duration // after which a measure weighs a third, and the mean has fallen to a third without any
}

// DefaultConfig begins to refuse bulk at 1 s and interactive at 3 s. The
// intake takes some milliseconds when it is well.
func DefaultConfig() Config {
	return Config{
		Bulk:        Band{From: time.Second, Full: 3 * time.Second},
		Interactive: Band{From: 3 * time.Second, Full: 6 * time.Second},
		Memory:      time.Second,
	}
}

// Validate reports the first setting that makes no sense.
func (c Config) Validate() error {
	switch {
	case c.Memory <= 0:
		return fmt.Errorf("shed: memory is %s; it must be positive", c.Memory)
	case c.Bulk.From <= 0 || c.Bulk.Full <= c.Bulk.From:
		return fmt.Errorf("shed: bulk is refused from %s to %s; want 0 < from < full", c.Bulk.From, c.Bulk.Full)
	case c.Interactive.From < c.Bulk.From || c.Interactive.Full <= c.Interactive.From:
		return fmt.Errorf("shed: interactive is refused from %s to %s; want it after bulk (%s)", c.Interactive.From, c.Interactive.Full, c.Bulk.From)
	}
	return nil
}

// Controller decides. It is safe for concurrent use. A nil Controller admits everything.
type Controller struct {
	cfg Config

	mu                sync.Mutex
	mean              float64   // guarded by mu: nanoseconds, as of at
	at                time.Time // guarded by mu
	bulk, interactive float64   // guarded by mu: shares of refusals that are owed
}

// New returns a controller that refuses nothing yet.
func New(cfg Config) (*Controller, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	return &Controller{cfg: cfg}, nil
}

// Observe tells how long an envelope took, from its first job's arrival to the
// acknowledgement or the failure.
func (c *Controller) Observe(took time.Duration, now time.Time) {
	if c == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	gap := took // one slow envelope stands for all the time that it took
	if !c.at.IsZero() {
		gap = max(gap, now.Sub(c.at))
	}
	c.fadeLocked(now)
	c.at = now
	c.mean += (float64(took) - c.mean) * (1 - math.Exp(-float64(gap)/float64(c.cfg.Memory)))
}

// fadeLocked brings the mean up to now. Silence that is no longer than Memory,
// or than what envelopes take, says nothing.
func (c *Controller) fadeLocked(now time.Time) {
	patience := max(c.cfg.Memory, time.Duration(c.mean))
	if idle := now.Sub(c.at) - patience; idle > 0 {
		c.mean *= math.Exp(-float64(idle) / float64(c.cfg.Memory))
		c.at = now.Add(-max(c.cfg.Memory, time.Duration(c.mean)))
	}
}

// Latency returns the mean as of now.
func (c *Controller) Latency(now time.Time) time.Duration {
	if c == nil {
		return 0
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.fadeLocked(now)
	return time.Duration(c.mean)
}

// Admit reports whether a job of the class may be submitted.
func (c *Controller) Admit(class job.Class, now time.Time) bool {
	if c == nil {
		return true
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.mean == 0 {
		return true
	}
	c.fadeLocked(now)
	band, owed := c.cfg.Bulk, &c.bulk
	if class == job.Interactive {
		band, owed = c.cfg.Interactive, &c.interactive
	}
	share := min(1, max(0, (c.mean-float64(band.From))/float64(band.Full-band.From)))
	if share == 0 {
		*owed = 0
		return true
	}
	if *owed += share; *owed < 1 {
		return true
	}
	*owed--
	return false
}
