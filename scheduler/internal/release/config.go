package release

import (
	"time"

	"github.com/voicemill/voicemill/platform/config"
)

// Config says how work is let out. Start from [DefaultConfig].
type Config struct {
	BundleSeconds float64       `help:"Predicted seconds of audio that one message carries at most, if more than one segment." default:"300"`
	Joins         int           `help:"Chapters and jobs that may be out for joining while no worker says how many it takes." default:"16"`
	Tick          time.Duration `help:"How often what is out is looked at when nothing happens." default:"100ms"`
	SweepAfter    time.Duration `config:"-"` // age at which what is out is published again; 0: twice the bus's ack wait
	Waiting       int           `help:"Queues of jobs that are kept in memory; the rest waits in the database." default:"200000"`
	CacheBytes    int           `help:"Text that is kept in memory for the next releases." default:"67108864"`
	Grace         time.Duration `help:"How long a release in hand may take after stop." default:"5s"`
}

// DefaultConfig returns the defaults that the tags of [Config] name.
func DefaultConfig() Config {
	return Config{
		BundleSeconds: 300, Joins: 16, Tick: 100 * time.Millisecond, Waiting: 200_000,
		CacheBytes: 64 << 20, Grace: 5 * time.Second,
	}
}

// Validate reports the first setting that makes no sense.
func (c Config) Validate() error { return config.Check("release", c) }

// Rules are what the settings must keep.
func (c Config) Rules() []config.Rule {
	return []config.Rule{
		{Says: "`bundle-seconds` and `joins` must be positive", Kept: c.BundleSeconds > 0 && c.Joins > 0},
		{Says: "`waiting` must be at least 1000", Kept: c.Waiting >= 1000},
		{Says: "`cache-bytes` must be at least 1048576", Kept: c.CacheBytes >= 1<<20},
		{Says: "`tick` and `grace` must be positive", Kept: min(c.Tick, c.Grace) > 0},
	}
}

const (
	noticeBacklog = 4096                   // jobs announced and not looked at yet; more are found by the scan
	noteBacklog   = 256                    // messages of notes that wait for the loop; the rest is dropped
	perTenant     = 4096                   // queues of a tenant, class and pool that are kept in memory
	page          = 1000                   // rows of one page of what waits
	sweepPage     = 256                    // bundles of one page of what is out
	stepBundles   = 16                     // bundles of one step
	pagePause     = 100 * time.Millisecond // between pages of what was read before
	prefetch      = 64                     // blocks of one read ahead
	settleTime    = 10 * time.Millisecond  // between two steps, so that hints and notes are taken together; a planned job ends it
	rescan        = time.Second            // after the end of a table is reached
	saveTimes     = 2 * time.Second
	reportFor     = 5 * time.Second // a worker that is silent for so long is gone
	laterPause    = time.Second     // for a rendition that somebody else is making
	messageBytes  = 512 << 10       // of one bundle; a segment alone may have more
	pauseFrom     = 50 * time.Millisecond
	pauseAway     = 500 * time.Millisecond // at most between tries while the database or the bus is away
	pauseFault    = 30 * time.Second       // and while a statement is refused for another reason
)
