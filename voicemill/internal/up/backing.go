package up

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"

	"github.com/voicemill/voicemill/platform/blob"
	"github.com/voicemill/voicemill/platform/bus"
	"github.com/voicemill/voicemill/platform/config"
	"github.com/voicemill/voicemill/platform/embed/natsd"
	"github.com/voicemill/voicemill/platform/embed/pgd"
	"github.com/voicemill/voicemill/platform/embed/s3d"
	"github.com/voicemill/voicemill/platform/pg"
)

// The private servers are for one process; these bounds keep them small.
const (
	dbConns = 24
	bucket  = "voicemill"
)

// backing is the three embedded servers and the connections to them.
type backing struct {
	postgres *pgd.Server
	nats     *natsd.Server
	s3       *s3d.Server

	db   *pg.Pool
	bus  *bus.Bus
	blob *blob.Store
}

// startBacking starts the servers side by side, connects and migrates. On an
// error everything that was started has been stopped.
func startBacking(ctx context.Context, dir, s3Listen string, log *slog.Logger) (*backing, error) {
	b := &backing{}
	if err := b.start(ctx, dir, s3Listen, log); err != nil {
		return nil, errors.Join(err, b.stop(context.WithoutCancel(ctx)))
	}
	if err := b.connect(ctx, log); err != nil {
		return nil, errors.Join(err, b.stop(context.WithoutCancel(ctx)))
	}
	return b, nil
}

func (b *backing) start(ctx context.Context, dir, s3Listen string, log *slog.Logger) error {
	var wg sync.WaitGroup
	var errs [3]error
	wg.Go(func() {
		b.postgres, errs[0] = pgd.Start(ctx, pgd.Config{DataDir: filepath.Join(dir, "postgres")}, log.With(slog.String("part", "postgres")))
	})
	wg.Go(func() {
		b.nats, errs[1] = natsd.Start(ctx, natsd.Config{StoreDir: filepath.Join(dir, "nats")}, log.With(slog.String("part", "nats")))
	})
	wg.Go(func() {
		b.s3, errs[2] = s3d.Start(ctx, s3d.Config{DataDir: filepath.Join(dir, "s3"), Listen: s3Listen}, log.With(slog.String("part", "s3")))
	})
	wg.Wait()
	return errors.Join(errs[:]...)
}

func (b *backing) connect(ctx context.Context, log *slog.Logger) error {
	var err error
	b.db, err = pg.Connect(ctx, pg.Config{DSN: config.NewSecret(b.postgres.DSN()), MaxConns: dbConns}, log)
	if err != nil {
		return err
	}
	if err := pg.Migrate(ctx, b.db, log); err != nil {
		return err
	}
	b.bus, err = bus.Connect(ctx, bus.Config{}, log, bus.InProcess(b.nats))
	if err != nil {
		return err
	}
	if err := b.bus.Setup(ctx); err != nil {
		return err
	}
	keys := b.s3.Credentials()
	b.blob, err = blob.Open(ctx, blob.Config{
		Endpoint: b.s3.Endpoint(), Bucket: bucket, Region: b.s3.Region(), AccessKey: keys.AccessKey, SecretKey: keys.SecretKey,
	}, blob.InProcess(b.s3))
	return err
}

// run watches the servers until ctx is done, then closes the connections and
// stops the servers. It returns early if a server ends by itself.
func (b *backing) run(ctx context.Context) error {
	var err error
	select {
	case <-ctx.Done():
	case <-b.postgres.Done():
		err = fmt.Errorf("postgres ended: %w", b.postgres.Err())
	case <-b.s3.Done():
		err = fmt.Errorf("s3 ended: %w", b.s3.Err())
	}
	return errors.Join(err, b.stop(context.WithoutCancel(ctx)))
}

func (b *backing) stop(ctx context.Context) error {
	if b.blob != nil {
		b.blob.Close()
	}
	if b.bus != nil {
		b.bus.Close()
	}
	if b.db != nil {
		b.db.Close()
	}
	var wg sync.WaitGroup
	var errs [2]error
	if b.postgres != nil {
		wg.Go(func() { errs[0] = b.postgres.Stop(ctx) })
	}
	if b.s3 != nil {
		wg.Go(func() { errs[1] = b.s3.Stop(ctx) })
	}
	if b.nats != nil {
		wg.Go(b.nats.Stop)
	}
	wg.Wait()
	return errors.Join(errs[:]...)
}
