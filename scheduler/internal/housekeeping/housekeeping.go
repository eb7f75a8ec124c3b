package housekeeping

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/platform/config"
	"github.com/voicemill/voicemill/scheduler/internal/store"
)

// Config says how long things are kept. Start from [DefaultConfig].
type Config struct {
	Every           time.Duration `help:"Time between two rounds." default:"1m"`
	CancelEvery     time.Duration `help:"How often cancels that crossed their job are looked for." default:"1s"`
	Rows            int           `help:"Rows of one kind that one round deletes." default:"1000"`
	IdempotencyKeys time.Duration `help:"How long an Idempotency-Key is remembered." default:"24h"`
	Cancellations   time.Duration `help:"How long the cancel of an unknown job is remembered." default:"168h"`
	Uploads         time.Duration `help:"How long an upload that no job names is kept after its URL expired." default:"24h"`
	Parts           time.Duration `help:"How long the parts of a file are kept whose writer never finished it; longer than the longest join takes." default:"48h"`
}

// DefaultConfig returns the defaults that the tags of [Config] name.
func DefaultConfig() Config {
	return Config{
		Every: time.Minute, CancelEvery: time.Second, Rows: 1000, IdempotencyKeys: 24 * time.Hour,
		Cancellations: 7 * 24 * time.Hour, Uploads: 24 * time.Hour, Parts: 48 * time.Hour,
	}
}

// Validate reports the first setting that makes no sense.
func (c Config) Validate() error { return config.Check("housekeeping", c) }

// Rules are what the settings must keep.
func (c Config) Rules() []config.Rule {
	return []config.Rule{
		{Says: "`every`, `cancel-every` and `rows` must be positive", Kept: c.Every > 0 && c.CancelEvery > 0 && c.Rows > 0},
		{Says: "`idempotency-keys` must be at least the 24h that clients are promised", Kept: c.IdempotencyKeys >= 24*time.Hour},
		{Says: "`cancellations` and `uploads` must be positive", Kept: min(c.Cancellations, c.Uploads) > 0},
		{Says: "`parts` must be at least an hour", Kept: c.Parts >= time.Hour},
	}
}

const (
	cancelsAtOnce = 100
	batches       = 100         // of one kind in a round: with the defaults 1,600 rows a second
	partsEvery    = time.Hour   // it lists the bucket's unfinished uploads
	outboxAge     = time.Minute // a worker may still hold the message
	settledAge    = time.Minute // a gateway that found no row may be about to look for the cancel
)

// Objects deletes objects of the bucket; deleting what is not there is no error.
type Objects interface {
	Delete(ctx context.Context, key string) error
	// SweepUploads ends the multipart uploads that began before a time, and
	// returns how many.
	SweepUploads(ctx context.Context, before time.Time) (int, error)
}

// Keeper is the loop.
type Keeper struct {
	cfg     Config
	objects Objects
	log     *slog.Logger
	// cancelled is told of the jobs that were cancelled late.
	cancelled func([]store.Version)
	swept     time.Time // when unfinished multipart uploads were looked for last
}

// New returns a Keeper that is not running yet. cancelled is told of the jobs
// whose cancel was applied late.
func New(cfg Config, objects Objects, log *slog.Logger, cancelled func([]store.Version)) *Keeper {
	return &Keeper{cfg: cfg, objects: objects, log: log, cancelled: cancelled}
}

// Run keeps house under the lease of s until ctx is done, then returns nil. Faults are logged; the
// next round tries again.
func (k *Keeper) Run(ctx context.Context, s *store.Leased) error {
	cancels := time.NewTicker(k.cfg.CancelEvery)
	defer cancels.Stop()
	rounds := time.NewTicker(k.cfg.Every)
	defer rounds.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-cancels.C:
			k.report(ctx, "late cancels", k.cancelLate(ctx, s))
		case <-rounds.C:
			k.report(ctx, "housekeeping", k.Round(ctx, s))
		}
	}
}

func (k *Keeper) report(ctx context.Context, what string, err error) {
	if err != nil && ctx.Err() == nil {
		k.log.WarnContext(ctx, "housekeeping incomplete", slog.String("part", what), slog.String("error", err.Error()))
	}
}

func (k *Keeper) cancelLate(ctx context.Context, s *store.Leased) error {
	done, err := s.CancelLate(ctx, cancelsAtOnce)
	if len(done) > 0 {
		k.cancelled(done)
	}
	return err
}

// Round deletes what is old, at most [batches] times Config.Rows rows of a kind,
// so that one round takes a bounded time; the next goes on. It tries every kind
// and returns the errors joined.
func (k *Keeper) Round(ctx context.Context, s *store.Leased) error {
	var errs []error
	for _, old := range []struct {
		kind string
		age  time.Duration
	}{
		{store.OldIdempotencyKeys, k.cfg.IdempotencyKeys},
		{store.OldCancellations, k.cfg.Cancellations},
		{store.OldSettled, settledAge},
		{store.OldOutbox, outboxAge},
	} {
		errs = append(errs, k.deleteOld(ctx, s, old.kind, old.age))
	}
	return errors.Join(append(errs, k.uploads(ctx, s), k.parts(ctx))...)
}

// parts ends multipart uploads whose writers are gone: buckets keep their parts
// for ever, and charge for them.
func (k *Keeper) parts(ctx context.Context) error {
	if time.Since(k.swept) < partsEvery {
		return nil
	}
	n, err := k.objects.SweepUploads(ctx, time.Now().Add(-k.cfg.Parts))
	if n > 0 {
		k.log.InfoContext(ctx, "unfinished files dropped", slog.Int("files", n))
	}
	if err != nil {
		return fmt.Errorf("drop unfinished files: %w", err)
	}
	k.swept = time.Now()
	return nil
}

func (k *Keeper) deleteOld(ctx context.Context, s *store.Leased, kind string, age time.Duration) error {
	deleted := 0
	for range batches {
		n, err := s.DeleteOld(ctx, kind, age, k.cfg.Rows)
		if err != nil {
			return err
		}
		if deleted += n; n < k.cfg.Rows {
			break
		}
	}
	if deleted > 0 {
		k.log.DebugContext(ctx, "old rows deleted", slog.String("kind", kind), slog.Int("rows", deleted))
	}
	return nil
}

// uploads deletes expired uploads, the object before the row: if this is cut
// off between the two, the next round finds the row and deletes again.
func (k *Keeper) uploads(ctx context.Context, s *store.Leased) error {
	old, err := s.ExpiredUploads(ctx, k.cfg.Uploads, k.cfg.Rows)
	if err != nil {
		return fmt.Errorf("find expired uploads: %w", err)
	}
	var gone []string
	var failed error
	for _, u := range old {
		if err := k.objects.Delete(ctx, u.ObjectKey); err != nil && job.KindOf(err) != job.NotFound {
			failed = fmt.Errorf("delete upload %s: %w", u.ID, err)
			continue
		}
		gone = append(gone, u.ID)
	}
	if len(gone) > 0 {
		failed = errors.Join(failed, s.DeleteUploads(ctx, gone))
	}
	return failed
}
