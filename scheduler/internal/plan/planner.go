package plan

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"runtime/debug"
	"sync"
	"time"

	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/platform/config"
	"github.com/voicemill/voicemill/scheduler/internal/reader"
	"github.com/voicemill/voicemill/scheduler/internal/store"
)

// Config says how jobs are planned. Start from [DefaultConfig].
type Config struct {
	Batch      int           `help:"Jobs with inline input that are planned together." default:"32"`
	BatchBytes int           `help:"Bytes of inline text that are planned together, about." default:"1048576"`
	Attempts   int           `help:"Tries of a job whose planning fails by a fault of ours." default:"3"`
	Crashes    int           `help:"Deaths of a planner after which the job it was planning is given up." default:"10"`
	Poll       time.Duration `help:"How often accepted jobs are looked for when nothing announces them." default:"500ms"`
	Timeout    time.Duration `help:"How long the planning of one job may take." default:"15m"`
	Backoff    time.Duration `help:"Wait before a job is planned again; it doubles up to backoff_max." default:"1s"`
	BackoffMax time.Duration `help:"Longest wait before a job is planned again." default:"30s"`
	Grace      time.Duration `help:"How long a plan in hand may take after stop." default:"5s"`
	Documents  int           `help:"Documents that are read at the same time, each in a process of its own. A tenant has half of them, and one is for interactive jobs alone." default:"4"`
	Reader     reader.Config `embed:"" prefix:"reader-"`
}

// DefaultConfig returns the defaults that the tags of [Config] name.
func DefaultConfig() Config {
	return Config{
		Batch: 32, BatchBytes: 1 << 20, Attempts: 3, Crashes: 10, Poll: 500 * time.Millisecond, Timeout: 15 * time.Minute,
		Backoff: time.Second, BackoffMax: 30 * time.Second, Grace: 5 * time.Second, Documents: 4, Reader: reader.DefaultConfig(),
	}
}

// Validate reports the first setting that makes no sense.
func (c Config) Validate() error { return config.Check("plan", c) }

// maxRetries bounds the jobs of a lane that wait to be planned again; at the
// bound the lane takes no new ones.
const maxRetries = 256

// adoptPolls is how many polls pass between two looks for jobs that are in
// planning and in no lane's hands: 5 s with the defaults.
const adoptPolls = 10

const refundTimeout = 2 * time.Second

// Deps are the parts a Planner works with; all are needed.
type Deps struct {
	Uploads Uploads
	Covers  Covers
	Random  io.Reader // for names that nobody used before; safe for concurrent use
	Log     *slog.Logger
	Limits  job.Limits
	// Planned is told of every job that left planning, with its outcome.
	Planned func(Outcome)
}

// Outcome is what became of the planning of one job.
type Outcome struct {
	store.Version
	Queued   bool         // else it failed
	Fresh    *store.Fresh // what is to be released, if it need not be read
	Kind     job.Kind
	Segments int
	Reused   int
	Duration time.Duration
}

// Planner is the lanes. Create it with [New]; Wake may be called by any
// goroutine at any time, Run by one at a time.
type Planner struct {
	cfg    Config
	deps   Deps
	reader *reader.Reader
	leased *store.Leased // of the term that Run runs in
	lanes  []*lane
}

// New returns a Planner that is not running yet.
func New(cfg Config, deps Deps) (*Planner, error) {
	p := &Planner{cfg: cfg, deps: deps}
	var err error
	if p.reader, err = reader.New(cfg.Reader); err != nil {
		return nil, err
	}
	p.lanes = []*lane{
		newLane(p, "inline", store.Inline, cfg.Batch, 1),
		newLane(p, "documents", store.Documents, 1, cfg.Documents),
	}
	return p, nil
}

// Wake says that jobs were accepted. It never blocks.
func (p *Planner) Wake() {
	for _, l := range p.lanes {
		l.wake.Raise()
	}
}

// Run plans jobs under the lease of s until ctx is done, then finishes what it holds, as far as the
// grace allows, and returns nil. What it cannot finish is planned again by the
// next leader.
func (p *Planner) Run(ctx context.Context, s *store.Leased) error {
	p.leased = s
	var lanes sync.WaitGroup
	for _, l := range p.lanes {
		lanes.Go(func() { l.run(ctx) })
	}
	lanes.Wait()
	return nil
}

// commit reads claims and stores their plans, which show together. errs[i] is
// why claims[i] was not stored; a claim that left planning meanwhile has none
// and is not in planned.
func (p *Planner) commit(ctx context.Context, claims []store.Claim, casting *Casting) (planned []store.Planned, errs []error) {
	ctx, cancel := context.WithTimeoutCause(ctx, p.cfg.Timeout, errTimeout)
	defer cancel()
	errs = make([]error, len(claims))
	var plans []store.Plan
	var members []int
	var source *upload
	for i := range claims {
		plan, u, done, err := p.open(ctx, claims[i], casting, len(claims) > 1)
		defer done()
		if err != nil {
			errs[i] = err
			continue
		}
		source = u
		plans, members = append(plans, plan), append(members, i)
	}
	if len(plans) == 0 {
		return nil, errs
	}
	planned, err := p.store(ctx, plans, source)
	if err != nil {
		if errors.Is(context.Cause(ctx), errTimeout) {
			err = errTimeout
		}
		for _, i := range members {
			errs[i] = err
		}
	}
	return planned, errs
}

var errTimeout = &job.Error{Op: "plan", Kind: job.Internal, Public: "The document took too long to read."}

// open reads the frame of one job, and all of it if it is stored together with
// others: then nothing but the database can fail while they are stored.
// The caller calls done when it has taken the chapters.
func (p *Planner) open(ctx context.Context, c store.Claim, casting *Casting, whole bool) (plan store.Plan, source *upload, done func(), err error) {
	done = func() {}
	defer func() {
		if v := recover(); v != nil {
			err = p.panicked(ctx, c.ID, v)
		}
		if away := source.failure(c.ID); away != nil {
			err = away
		}
	}()
	var cover []byte
	if c.SourceKey == "" {
		plan, cover, done, err = p.read(ctx, c, casting, nil, 0)
	} else if source, err = openUpload(ctx, p.deps.Uploads, c); err == nil {
		plan, cover, done, err = p.read(ctx, c, casting, source, source.size)
	}
	if err == nil {
		plan.Source, err = digest(c, source)
	}
	if err != nil {
		return plan, source, done, err
	}
	if source != nil {
		plan.Chapters = complete(plan.Chapters, func() error { return source.failure(c.ID) })
	}
	if whole {
		if plan.Chapters, err = gather(plan.Chapters); err != nil {
			return plan, source, done, err
		}
	}
	plan.Cover, err = p.cover(ctx, c, cover)
	return plan, source, done, err
}

// complete ends chapters with an error if reading them failed silently.
func complete(chapters iter.Seq2[*store.Chapter, error], failure func() error) iter.Seq2[*store.Chapter, error] {
	return func(yield func(*store.Chapter, error) bool) {
		for ch, err := range chapters {
			if !yield(ch, err) || err != nil {
				return
			}
		}
		if err := failure(); err != nil {
			yield(nil, err)
		}
	}
}

// gather reads all chapters.
func gather(chapters iter.Seq2[*store.Chapter, error]) (iter.Seq2[*store.Chapter, error], error) {
	var all []*store.Chapter
	for ch, err := range chapters {
		if err != nil {
			return nil, err
		}
		all = append(all, ch)
	}
	return func(yield func(*store.Chapter, error) bool) {
		for _, ch := range all {
			if !yield(ch, nil) {
				return
			}
		}
	}, nil
}

// store commits plans. A bucket that failed meanwhile counts more than what
// the reader of the document made of it.
func (p *Planner) store(ctx context.Context, plans []store.Plan, source *upload) (planned []store.Planned, err error) {
	defer func() {
		if v := recover(); v != nil {
			err = p.panicked(ctx, plans[0].ID, v)
		}
		if away := source.failure(plans[0].ID); err != nil && away != nil {
			err = away
		}
	}()
	return p.leased.CommitPlans(ctx, plans)
}

// panicked turns a panic over a document into an error: one document must not
// end the scheduler for all.
func (p *Planner) panicked(ctx context.Context, id job.ID, v any) error {
	p.deps.Log.ErrorContext(ctx, "planner panicked", slog.String("job_id", string(id)),
		slog.Any("panic", v), slog.String("stack", string(debug.Stack())))
	return &job.Error{Op: "plan", JobID: id, Kind: job.Internal, Err: fmt.Errorf("panic: %v", v)}
}
