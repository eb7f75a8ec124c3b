package up

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"path/filepath"
	"sync"

	"github.com/voicemill/voicemill/platform/blob"
	"github.com/voicemill/voicemill/platform/bus"
	"github.com/voicemill/voicemill/platform/config"
	"github.com/voicemill/voicemill/platform/embed/natsd"
	"github.com/voicemill/voicemill/platform/embed/pgd"
	"github.com/voicemill/voicemill/platform/embed/s3d"
	"github.com/voicemill/voicemill/platform/pg"
	"github.com/voicemill/voicemill/platform/pg/migrate"
)

// The private servers are for one process; these bounds keep them small.
const (
	dbConns = 24
	// Bucket is the one of the private S3 server.
	Bucket = "voicemill"
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
func startBacking(ctx context.Context, cfg Config, log *slog.Logger) (*backing, error) {
	b := &backing{}
	if err := b.start(ctx, cfg, log); err != nil {
		return nil, errors.Join(err, b.stop(context.WithoutCancel(ctx)))
	}
	if err := b.connect(ctx, cfg, log); err != nil {
		return nil, errors.Join(err, b.stop(context.WithoutCancel(ctx)))
	}
	return b, nil
}

func (b *backing) start(ctx context.Context, cfg Config, log *slog.Logger) error {
	dir := cfg.Data
	var wg sync.WaitGroup
	var errs [3]error
	wg.Go(func() {
		b.postgres, errs[0] = pgd.Start(ctx, pgd.Config{DataDir: filepath.Join(dir, "postgres")}, log.With(slog.String("part", "postgres")))
	})
	wg.Go(func() {
		b.nats, errs[1] = natsd.Start(ctx, natsd.Config{StoreDir: filepath.Join(dir, "nats")}, log.With(slog.String("part", "nats")))
	})
	wg.Go(func() {
		b.s3, errs[2] = s3d.Start(ctx, s3Config(cfg), log.With(slog.String("part", "s3")))
	})
	wg.Wait()
	return errors.Join(errs[:]...)
}

func (b *backing) connect(ctx context.Context, cfg Config, log *slog.Logger) error {
	var err error
	b.db, err = pg.Connect(ctx, pg.Config{DSN: config.NewSecret(b.postgres.DSN()), MaxConns: dbConns}, log)
	if err != nil {
		return err
	}
	if err := migrate.Up(ctx, b.db, log); err != nil {
		return err
	}
	b.bus, err = bus.Connect(ctx, bus.Config{}, log, bus.InProcess(b.nats))
	if err != nil {
		return err
	}
	if err := b.bus.Setup(ctx); err != nil {
		return err
	}
	if a, err := netip.ParseAddrPort(b.s3.Endpoint()); err == nil && !a.Addr().IsLoopback() {
		warnBucket(ctx, cfg, b.s3.Endpoint(), log)
	}
	objects, keys := bucketConfig(cfg, b.s3.Endpoint()), b.s3.Credentials()
	objects.Region, objects.AccessKey, objects.SecretKey = b.s3.Region(), keys.AccessKey, keys.SecretKey
	b.blob, err = blob.Open(ctx, objects, blob.InProcess(b.s3))
	return err
}

// s3Config returns where the embedded S3 listens; it has the gateway's certificate.
func s3Config(cfg Config) s3d.Config {
	s := s3d.Config{DataDir: filepath.Join(cfg.Data, "s3"), Listen: cfg.S3Listen}
	if t := cfg.Gateway.TLS; len(t.Cert) > 0 {
		s.Cert, s.Key = t.Cert[0], t.Key[0]
	}
	return s
}

// bucketConfig returns what clients are told of the S3 that listens on endpoint,
// which may be every address of the machine. This process has a way of its own.
func bucketConfig(cfg Config, endpoint string) blob.Config {
	c := blob.Config{Endpoint: endpoint, Bucket: Bucket, PublicEndpoint: cfg.PublicEndpoint}
	if a, err := netip.ParseAddrPort(endpoint); err == nil && a.Addr().IsUnspecified() {
		c.Endpoint = netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), a.Port()).String()
	}
	if c.PublicEndpoint == "" && len(cfg.Gateway.TLS.Cert) > 0 {
		c.PublicEndpoint = "https://" + c.Endpoint
	}
	return c
}

// warnBucket says what is wrong with a bucket that other machines reach.
func warnBucket(ctx context.Context, cfg Config, endpoint string, log *slog.Logger) {
	if len(cfg.Gateway.TLS.Cert) == 0 {
		log.WarnContext(ctx, "files travel unencrypted: the bucket serves other machines without TLS", slog.String("address", endpoint))
	}
	if a, _ := netip.ParseAddrPort(endpoint); a.Addr().IsUnspecified() && cfg.PublicEndpoint == "" {
		log.WarnContext(ctx, "clients on other machines are sent to this one by its loopback address; blob-public-endpoint names a better one",
			slog.String("address", endpoint))
	}
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
