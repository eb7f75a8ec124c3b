package gateway

import (
	"context"
	"io"
	"time"

	"github.com/voicemill/voicemill/gateway/internal/api"
	"github.com/voicemill/voicemill/gateway/internal/circuit"
	"github.com/voicemill/voicemill/platform/blob"
)

// bucket is the blob store as the API wants it: in bounded time, and not at all
// for a moment after it failed.
type bucket struct {
	store   *blob.Store
	breaker *circuit.Breaker
}

func newBucket(s *blob.Store) *bucket {
	return &bucket{store: s, breaker: circuit.New("the bucket", circuit.DefaultConfig())}
}

const statTimeout = 4 * time.Second

// Stat implements [api.Bucket].
func (b *bucket) Stat(ctx context.Context, key string) (api.Object, error) {
	if err := b.breaker.Allow(time.Now()); err != nil {
		return api.Object{}, err
	}
	bounded, cancel := context.WithTimeout(ctx, statTimeout)
	defer cancel()
	info, err := b.store.Stat(bounded, key)
	if ctx.Err() == nil {
		b.breaker.Done(time.Now(), err)
	}
	return api.Object{Size: info.Size, ETag: info.ETag}, err
}

// Open implements [playback.Bucket]. Reading is bounded by progress, not by time.
func (b *bucket) Open(ctx context.Context, key string, offset int64) (io.ReadCloser, int64, error) {
	if err := b.breaker.Allow(time.Now()); err != nil {
		return nil, 0, err
	}
	body, info, err := b.store.Get(ctx, key, blob.GetOptions{Offset: offset})
	if ctx.Err() == nil {
		b.breaker.Done(time.Now(), err)
	}
	return body, info.Size, err
}

// PresignGet implements [api.Bucket]. It asks nobody.
func (b *bucket) PresignGet(ctx context.Context, key string, expiry time.Duration, filename string) (string, error) {
	return b.store.PresignGet(ctx, key, expiry, filename)
}

// PresignPut implements [api.Bucket]. It asks nobody.
func (b *bucket) PresignPut(ctx context.Context, key string, expiry time.Duration) (string, error) {
	return b.store.PresignPut(ctx, key, expiry)
}
