package worker

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"os"
	"slices"
	"time"

	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/platform/config"
	"github.com/voicemill/voicemill/platform/weights"
	"github.com/voicemill/voicemill/worker/internal/assemble"
	"github.com/voicemill/voicemill/worker/internal/batch"
	"github.com/voicemill/voicemill/worker/internal/commit"
	"github.com/voicemill/voicemill/worker/internal/consume"
	"github.com/voicemill/voicemill/worker/internal/deliver"
	"github.com/voicemill/voicemill/worker/internal/engine"
	"github.com/voicemill/voicemill/worker/internal/engineset"
	"github.com/voicemill/voicemill/worker/internal/fleet"
	"github.com/voicemill/voicemill/worker/internal/lease"
	"github.com/voicemill/voicemill/worker/internal/meter"
	"github.com/voicemill/voicemill/worker/internal/store"
	"github.com/voicemill/voicemill/worker/internal/synth"
)

// The description of a pool of engines; docs/engines.md explains it.
type (
	// Pool describes one pool: engines that serve the same voices.
	Pool = engineset.Pool
	// EspeakConfig is for pools whose engine is espeak-ng.
	EspeakConfig = engineset.EspeakConfig
	// NeuralConfig is for pools whose engine is a neural model on this machine.
	NeuralConfig = engineset.NeuralConfig
	// OpenAIConfig is for pools whose engines speak OpenAI's audio API.
	OpenAIConfig = engineset.OpenAIConfig
	// Voice is what a backend of such a pool is told about a public voice.
	Voice = engineset.Voice
	// TritonConfig is for pools whose engines are models in Triton servers.
	TritonConfig = engineset.TritonConfig
	// Command is what starts the engines of a pool whose worker runs them itself.
	Command = engineset.Command
	// Reference is what the model of such a pool is told about a public voice.
	Reference = engineset.Reference
)

// DefaultPools is one pool of espeak-ng, which needs nothing but the machine.
func DefaultPools() []Pool { return engineset.Default() }

// Config is everything that can be set. Start from [DefaultConfig].
type Config struct {
	PoolsFile string `help:"JSON file that describes the pools of engines; without one, a pool for each installed neural model, and one of espeak-ng." placeholder:"FILE"`
	Pools     []Pool `config:"-"` // used if PoolsFile is empty; if this is empty too, DefaultPools after what is installed
	ModelsDir string `help:"Folder in which neural models are installed (voicemill models); without one, .local/share/voicemill/models in the user's home." placeholder:"DIR"`

	Ear EarConfig `embed:""`

	Attempts   int           `help:"Tries of one segment before it has failed." default:"3"`
	Assemblies int           `help:"Chapters of one class joined at once." default:"2"`
	Encodings  int           `help:"Chapters and books of one class encoded at once, one process of ffmpeg each; 0: this worker makes WAV only." default:"2"`
	FFmpeg     string        `config:"-"` // path or name of ffmpeg; empty: ffmpeg in PATH
	BulkShare  int           `help:"Of so many engine calls, one is led by bulk work if any waits." default:"5"`
	RetryDelay time.Duration `help:"Before a segment's second attempt; doubles with each." default:"1s"`
	LeaseLimit time.Duration `help:"How long one message may be held at all." default:"15m"`
	Hold       time.Duration `help:"How long a database or bucket that is away is waited for with work in hand." default:"1m"`
	Linger     time.Duration `help:"How long an outcome that is not interactive waits for others to be committed with." default:"10ms"`
	CallTime   time.Duration `help:"Least time that an engine call may take before it counts as hung; of an engine whose pace is known it is found sooner (docs/engines.md, a stall)." default:"1m"`
	Grace      time.Duration `help:"How long engine calls and assemblies may go on after the stop." default:"20s"`
}

// DefaultConfig returns the defaults that the tags of [Config] name.
func DefaultConfig() Config {
	return Config{
		Ear:      DefaultEarConfig(),
		Attempts: job.DefaultLimits().Attempts, Assemblies: 2, Encodings: 2, BulkShare: 5, RetryDelay: time.Second,
		LeaseLimit: 15 * time.Minute, Hold: time.Minute, Linger: 10 * time.Millisecond, CallTime: time.Minute, Grace: 20 * time.Second,
	}
}

// Validate reports the first setting, or relation of settings, that makes no
// sense. It does not open the pools' file.
func (c Config) Validate() error {
	if err := config.Check("worker", c); err != nil {
		return err
	}
	if len(c.Pools) > 0 {
		if err := engineset.Validate(c.Pools); err != nil {
			return fmt.Errorf("worker: %w", err)
		}
	}
	return nil
}

// Rules are what the settings must keep.
func (c Config) Rules() []config.Rule {
	return []config.Rule{
		{Says: "`linger` must not be negative, `hold`, `grace` and `retry-delay` must be positive", Kept: c.Linger >= 0 && min(c.Hold, c.Grace, c.RetryDelay) > 0},
		{Says: "`attempts` and `assemblies` must be positive", Kept: c.Attempts > 0 && c.Assemblies > 0},
		{Says: "`encodings` must not be negative", Kept: c.Encodings >= 0},
		{Says: "`bulk-share` must be at least 2", Kept: c.BulkShare >= 2},
		{Says: "`call-time` must be positive", Kept: c.CallTime > 0},
		{Says: "`lease-limit` must exceed `hold` and `call-time` together", Kept: c.LeaseLimit > c.Hold+c.CallTime},
	}
}

// CheckFiles reports a file of pools that cannot be used.
func (c Config) CheckFiles() error {
	pools, _, err := c.pools()
	if err == nil {
		err = engineset.Validate(pools)
	}
	if err != nil && c.PoolsFile != "" {
		return fmt.Errorf("%s: %w", c.PoolsFile, err)
	}
	return err //nolint:wrapcheck // says which pool
}

// pools returns the pools that the configuration names. missing says why installed
// models are not among them, if so.
func (c Config) pools() (pools []Pool, missing, err error) {
	dir := cmp.Or(c.ModelsDir, weights.DefaultDir())
	switch {
	case c.PoolsFile != "":
		pools, err = c.readPools()
	case len(c.Pools) > 0:
		pools = slices.Clone(c.Pools)
	default:
		if pools, missing, err = engineset.Installed(dir); err == nil {
			pools = append(pools, alike(pools, DefaultPools())...)
		}
	}
	for i, p := range pools {
		if p.Engine == engineset.Neural && p.Neural.ModelsDir == "" {
			pools[i].Neural.ModelsDir = dir
		}
	}
	return pools, missing, err
}

// alike returns more with the rate of pools, so that a chapter may have voices of both.
func alike(pools, more []Pool) []Pool {
	for i := range more {
		if len(pools) > 0 {
			more[i].Rate = pools[0].Rate
		}
	}
	return more
}

func (c Config) readPools() (pools []Pool, err error) {
	f, err := os.Open(c.PoolsFile)
	if err != nil {
		return nil, fmt.Errorf("open the pools' file: %w", err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	return engineset.Read(f)
}

// lease gives signs of life three times in an ack wait: two may be lost.
func (c Config) lease(ackWait time.Duration) lease.Config {
	return lease.Config{Every: ackWait / 3, Hard: max(c.LeaseLimit, ackWait)}
}

// lastGroup is how long the committer may take for the group it holds when
// everybody who submits is gone.
const lastGroup = 5 * time.Second

func (c Config) commit() commit.Config {
	return commit.Config{Group: store.MaxGroup, Linger: c.Linger, Hold: c.Hold, Grace: lastGroup}
}

func (c Config) deliver() deliver.Config {
	return deliver.Config{Hold: c.Hold, Attempts: c.Attempts, Delay: c.RetryDelay}
}

func (c Config) assemble() assemble.Config {
	return assemble.Config{
		Workers: c.Assemblies, Encoders: max(1, c.Encodings), Attempts: c.Attempts, Tries: assemblyTries, Delay: c.RetryDelay, Prefetch: 8, Page: 250,
		Hold: c.Hold, Poll: poll, Grace: c.Grace,
	}
}

const (
	// One wait of a pull; a stop ends it within a second.
	poll = 5 * time.Second
	// An assembly that was tried so often in vain is parked.
	assemblyTries = 5
	// So many times the predicted audio is what an engine may take for it:
	// drivers give up sooner, and nothing that is worth running is slower.
	callFactor = 20
	// So many calls' worth of segments are in hand for each call at once:
	// one with the engine, one waiting for it, two being stored.
	perCall = 4
	// So many segments are stored at a time. Each has its audio in memory twice, as
	// samples and as a file: 96 KB for each second at 24 kHz. Those that engines still
	// speak have it once, when they are spoken.
	storesAtOnce = 32
	// So many in 8 calls bulk work fills while interactive work comes, of servers
	// that batch by themselves and whose calls are configured, and for so long after the last of it. At 3 of 8 an
	// L20 makes 88 % of what it makes at 8 of 8, and a segment takes 44 % of the
	// time (docs/benchmarks.md).
	easedPart         = 3
	easeFor           = time.Minute
	defaultSeconds    = 240
	defaultBatch      = 1
	defaultBatchWait  = 50 * time.Millisecond
	minPause          = 500 * time.Millisecond
	maxPause          = 30 * time.Second
	registrationPause = time.Second
)

func (c Config) consume(p Pool, info engine.Info) consume.Config {
	cc := consume.Config{
		Pool: p.Name, Calls: p.Calls, InHand: p.InHand, BulkShare: c.BulkShare, EaseFor: easeFor, Poll: poll, Grace: c.Grace,
		Batch:   batch.Limits{Items: p.Batch, Seconds: p.BatchSeconds, Wait: time.Duration(p.WaitSeconds * float64(time.Second))},
		Backoff: consume.Backoff{Min: minPause, Max: maxPause},
	}
	if cc.Batch.Items == 0 {
		cc.Batch.Items = defaultBatch
	}
	cc.Batch.Items = min(cc.Batch.Items, info.MaxBatch)
	if cc.Batch.Seconds == 0 {
		cc.Batch.Seconds = defaultSeconds
	}
	if p.WaitSeconds == 0 {
		cc.Batch.Wait = defaultBatchWait
	}
	if cc.Calls == 0 {
		cc.Calls = int(math.Ceil(float64(info.Window) / float64(cc.Batch.Items)))
	}
	cc.Adapt = adapts(p, cc.Batch.Items)
	if cc.Eased = min(p.EasedCalls, cc.Calls); cc.Eased == 0 && !cc.Adapt && p.Engine != engineset.Espeak && cc.Batch.Items == 1 {
		cc.Eased = (easedPart*cc.Calls + 7) / 8
	}
	if cc.InHand == 0 {
		cc.InHand = perCall * cc.Calls * cc.Batch.Items
	}
	return cc
}

// adapts reports whether the fleet finds how many segments at once are worth it: of
// servers that batch by themselves, unless somebody has said how many calls.
func adapts(p Pool, batch int) bool {
	return p.Calls == 0 && batch <= 1 && (p.Engine == engineset.OpenAISpeech || p.Engine == engineset.Triton)
}

func (c Config) synth(p Pool) synth.Config { return synth.Config{Pool: p.Name, Hold: c.Hold} }

func (c Config) fleet(p Pool, ear fleet.Ear, m *meter.Meter, log *slog.Logger) fleet.Config {
	return fleet.Config{
		Pool: p.Name, Rate: p.Rate, Batch: p.Batch, Window: p.Calls * max(1, p.Batch), Adapt: adapts(p, p.Batch), Check: p.Check(), CallMin: c.CallTime, CallFactor: callFactor,
		Admission: p.Admit(ear), Meter: m, Log: log.With(slog.String("pool", p.Name)),
	}
}
