package retention

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"time"

	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/platform/blob"
	"github.com/voicemill/voicemill/platform/config"
	"github.com/voicemill/voicemill/scheduler/internal/store"
)

// Config says how long things are kept, for tenants without a policy of their own.
// Start from [DefaultConfig].
type Config struct {
	Every          time.Duration `help:"Time between two rounds." default:"1m"`
	Text           time.Duration `help:"How long the text of a job is kept after its end: what was handed in, its segments, its manifest. 0 keeps it as long as the job." default:"720h"`
	Audio          time.Duration `help:"How long the files of a job are kept after its end. 0 keeps them as long as the job." default:"720h"`
	Jobs           time.Duration `help:"How long a job is kept after its end, with all that is its own. 0 keeps it for ever." default:"2160h"`
	Deliveries     time.Duration `help:"How long a callback is kept that was delivered or given up. 0 keeps it as long as the job." default:"720h"`
	Renditions     time.Duration `help:"How long a rendition is kept that no job uses, for jobs to come with the same text. Counted in days; 0 keeps it for ever." default:"720h"`
	RenditionBytes int64         `help:"Bytes of renditions that a tenant may have; what was not used for longest goes first, and nothing that was used today or by an open job. 0 is no bound." default:"0"`
	Garbage        time.Duration `help:"How long an object stays that no row names any more, so that who reads it comes to its end." default:"10m"`
	Orphans        time.Duration `help:"Age at which an object goes that never got a row; longer than the longest join takes." default:"48h"`
}

// DefaultConfig returns the defaults that the tags of [Config] name.
func DefaultConfig() Config {
	const day = 24 * time.Hour
	return Config{
		Every: time.Minute, Text: 30 * day, Audio: 30 * day, Jobs: 90 * day, Deliveries: 30 * day, Renditions: 30 * day,
		Garbage: 10 * time.Minute, Orphans: 2 * day,
	}
}

// Validate reports the first setting that makes no sense.
func (c Config) Validate() error { return config.Check("retention", c) }

// Rules are what the settings must keep.
func (c Config) Rules() []config.Rule {
	return []config.Rule{
		{Says: "`every`, `garbage` and `orphans` must be positive", Kept: c.Every > 0 && c.Garbage > 0 && c.Orphans > 0},
		{
			Says: "`text`, `audio`, `jobs`, `deliveries`, `renditions` and `rendition-bytes` must not be negative",
			Kept: min(c.Text, c.Audio, c.Jobs, c.Deliveries, c.Renditions) >= 0 && c.RenditionBytes >= 0,
		},
	}
}

// The sizes of a round. One takes a bounded time; the next goes on.
const (
	tenantsAtOnce = 500
	pagesAtOnce   = 20   // of tenants
	jobsAtOnce    = 50   // each has up to 3,125 blocks
	rowsAtOnce    = 1000 // of other kinds, and of objects
	batches       = 50   // of one kind and page of tenants
	walkPages     = 10   // of the bucket, of rowsAtOnce objects
	deletes       = 8    // objects at once
	goneFor       = time.Hour
	placesFor     = time.Hour // a place of a quota whose job never came; reserve counts it no longer
)

// Bucket is where the objects are.
type Bucket interface {
	// Stat describes an object; NotFound if there is none.
	Stat(ctx context.Context, key string) (blob.Info, error)
	// Delete removes an object; one that is not there counts as removed.
	Delete(ctx context.Context, key string) error
	// ListAfter yields the objects whose keys begin with prefix and come after one, in order.
	ListAfter(ctx context.Context, prefix, after string) iter.Seq2[blob.Info, error]
}

// Sweeper is the loop.
type Sweeper struct {
	cfg    Config
	bucket Bucket
	log    *slog.Logger

	tenant int32  // the last one that was looked at
	walked string // the object that the walk has come to
}

// New returns a Sweeper that is not running yet.
func New(cfg Config, bucket Bucket, log *slog.Logger) *Sweeper {
	return &Sweeper{cfg: cfg, bucket: bucket, log: log}
}

// Run sweeps under the lease of s until ctx is done, then returns nil. Faults are
// logged; the next round tries again.
func (w *Sweeper) Run(ctx context.Context, s *store.Leased) error {
	rounds := time.NewTicker(w.cfg.Every)
	defer rounds.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-rounds.C:
		}
		if err := w.Round(ctx, s); err != nil && ctx.Err() == nil {
			w.log.WarnContext(ctx, "retention incomplete", slog.String("error", err.Error()))
		}
	}
}

// Round deletes what is due, up to a bound. It tries every kind and returns the
// errors joined.
func (w *Sweeper) Round(ctx context.Context, s *store.Leased) error {
	return errors.Join(w.tally(ctx, s), w.expire(ctx, s), w.walk(ctx, s), w.collect(ctx, s), w.forget(ctx, s))
}

// tally adds what ended jobs have used to their tenants' days.
func (w *Sweeper) tally(ctx context.Context, s *store.Leased) error {
	for range batches {
		n, err := s.Tally(ctx, rowsAtOnce)
		if err != nil {
			return fmt.Errorf("tally jobs: %w", err)
		}
		if n < rowsAtOnce {
			break
		}
	}
	return nil
}

// expire goes through the tenants, page by page.
func (w *Sweeper) expire(ctx context.Context, s *store.Leased) error {
	if err := s.SumStored(ctx, rowsAtOnce*batches); err != nil {
		return fmt.Errorf("sum what is stored: %w", err)
	}
	for range pagesAtOnce {
		tenants, err := s.TenantsAfter(ctx, w.tenant, tenantsAtOnce)
		if err != nil {
			return fmt.Errorf("list tenants: %w", err)
		}
		if len(tenants) == 0 {
			w.tenant = 0
			return nil
		}
		w.tenant = tenants[len(tenants)-1]
		if err := w.expireOf(ctx, s, tenants); err != nil {
			return err
		}
	}
	return nil
}

func (w *Sweeper) expireOf(ctx context.Context, s *store.Leased, tenants []int32) error {
	var errs []error
	for _, k := range []struct {
		kind string
		keep time.Duration
		rows int
	}{
		{store.KeptJobs, w.cfg.Jobs, jobsAtOnce},
		{store.KeptAudio, w.cfg.Audio, jobsAtOnce},
		{store.KeptText, w.cfg.Text, jobsAtOnce},
		{store.KeptDeliveries, w.cfg.Deliveries, rowsAtOnce},
		{store.KeptRenditions, w.cfg.Renditions, rowsAtOnce},
	} {
		errs = append(errs, w.repeat(ctx, k.kind, k.rows, func() (int, error) {
			return s.Expire(ctx, k.kind, tenants, k.keep, k.rows)
		}))
	}
	return errors.Join(append(errs, w.repeat(ctx, "EvictSurplus", rowsAtOnce, func() (int, error) {
		n, err := s.EvictSurplus(ctx, tenants, w.cfg.RenditionBytes, rowsAtOnce)
		if err != nil || n == 0 {
			return n, err
		}
		return n, s.SumStored(ctx, rowsAtOnce)
	}))...)
}

// repeat deletes batches until one is not full.
func (w *Sweeper) repeat(ctx context.Context, what string, full int, batch func() (int, error)) error {
	deleted := 0
	for range batches {
		n, err := batch()
		if err != nil {
			return err
		}
		if deleted += n; n < full {
			break
		}
	}
	if deleted > 0 {
		w.log.InfoContext(ctx, "what was kept long enough is deleted", slog.String("what", what), slog.Int("rows", deleted))
	}
	return nil
}

// forget deletes what was noted only for a while.
func (w *Sweeper) forget(ctx context.Context, s *store.Leased) error {
	return errors.Join(
		w.repeat(ctx, store.OldGarbage, rowsAtOnce, func() (int, error) { return s.DeleteOld(ctx, store.OldGarbage, goneFor, rowsAtOnce) }),
		w.repeat(ctx, store.OldReservations, rowsAtOnce, func() (int, error) { return s.DeleteOld(ctx, store.OldReservations, placesFor, rowsAtOnce) }),
		w.repeat(ctx, store.OldTombstones, rowsAtOnce, func() (int, error) { return s.DeleteOld(ctx, store.OldTombstones, job.LongestArrival, rowsAtOnce) }),
	)
}
