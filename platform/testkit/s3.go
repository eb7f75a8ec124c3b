package testkit

import (
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/voicemill/voicemill/platform/blob"
	"github.com/voicemill/voicemill/platform/embed/s3d"
)

// objects is the one S3 server of this test process.
type objects struct {
	once    sync.Once
	s3d     *s3d.Server
	dir     *tempDir
	md5     bool
	err     error
	buckets atomic.Int64
}

var sharedS3 objects

// MD5ETags has the S3 server of this test process make ETags as most stores of others
// do. Call it from TestMain, before there is a bucket.
func MD5ETags() { sharedS3.md5 = true }

// S3 returns an empty bucket of the test's own.
func S3(tb testing.TB) *blob.Store {
	tb.Helper()
	store, err := blob.Open(tb.Context(), S3Config(tb))
	if err != nil {
		tb.Fatalf("open the test's bucket: %v", err)
	}
	tb.Cleanup(store.Close)
	return store
}

// S3InProcess is [S3] reached as `voicemill up` reaches its bucket.
func S3InProcess(tb testing.TB) *blob.Store {
	tb.Helper()
	store, err := blob.Open(tb.Context(), S3Config(tb), blob.InProcess(sharedS3.s3d))
	if err != nil {
		tb.Fatalf("open the test's bucket: %v", err)
	}
	tb.Cleanup(store.Close)
	return store
}

// S3Config is [S3] for a test that opens the bucket by itself, which makes it.
func S3Config(tb testing.TB) blob.Config {
	tb.Helper()
	sharedS3.once.Do(sharedS3.start)
	if sharedS3.err != nil {
		tb.Fatalf("start an S3 server for the tests: %v", sharedS3.err)
	}
	creds := sharedS3.s3d.Credentials()
	return blob.Config{
		Endpoint: sharedS3.s3d.Endpoint(), Bucket: fmt.Sprintf("test-%d", sharedS3.buckets.Add(1)),
		AccessKey: creds.AccessKey, SecretKey: creds.SecretKey, Region: sharedS3.s3d.Region(),
	}
}

func (o *objects) start() {
	ctx, cancel := context.WithTimeout(context.Background(), startWithin)
	defer cancel()
	if o.dir, o.err = newTempDir("s3"); o.err != nil {
		return
	}
	o.s3d, o.err = s3d.Start(ctx, s3d.Config{DataDir: filepath.Join(o.dir.path, "s3"), MD5: o.md5}, slog.New(slog.DiscardHandler))
}

func (o *objects) stop(ctx context.Context) error {
	o.once.Do(func() {}) // nobody may start it any more
	var err error
	if o.s3d != nil {
		err = o.s3d.Stop(ctx)
	}
	if o.dir != nil {
		o.dir.remove()
	}
	return err
}
