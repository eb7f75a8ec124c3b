package gateway

import (
	"context"
	"errors"
	"io"
	"time"

	"github.com/voicemill/voicemill/gateway/internal/circuit"
	"github.com/voicemill/voicemill/gateway/internal/operation"
	"github.com/voicemill/voicemill/gateway/internal/problem"
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

// Stat implements [operation.Bucket].
func (b *bucket) Stat(ctx context.Context, key string) (operation.Object, error) {
	if err := b.breaker.Allow(time.Now()); err != nil {
		return operation.Object{}, err
	}
	bounded, cancel := context.WithTimeout(ctx, statTimeout)
	defer cancel()
	info, err := b.store.Stat(bounded, key)
	b.done(ctx, err)
	return operation.Object{Size: info.Size, ETag: info.ETag}, err
}

// Open implements [playback.Bucket]. Reading is bounded by progress, not by time.
func (b *bucket) Open(ctx context.Context, key string, offset int64) (io.ReadCloser, int64, error) {
	if err := b.breaker.Allow(time.Now()); err != nil {
		return nil, 0, err
	}
	body, info, err := b.store.Get(ctx, key, blob.GetOptions{Offset: offset})
	b.done(ctx, err)
	return body, info.Size, err
}

// PresignGet implements [operation.Bucket]. It asks nobody.
func (b *bucket) PresignGet(ctx context.Context, key string, expiry time.Duration, filename string) (string, error) {
	return b.store.PresignGet(ctx, key, expiry, filename)
}

// PresignPut implements [operation.Bucket]. It asks nobody.
func (b *bucket) PresignPut(ctx context.Context, key string, expiry time.Duration, media string, size int64) (string, map[string]string, error) {
	return b.store.PresignPut(ctx, key, expiry, media, size)
}

// Put implements [operation.Bucket]. It takes as long as r, and ends when the bucket
// takes nothing for a while.
func (b *bucket) Put(ctx context.Context, key, media string, r io.Reader, size int64) (operation.Object, bool, error) {
	if err := b.breaker.Allow(time.Now()); err != nil {
		return operation.Object{}, false, err
	}
	opts := blob.PutOptions{ContentType: media, IfAbsent: true, Slow: true}
	var info blob.Info
	var err error
	if size >= 0 {
		info, err = b.store.PutOnce(ctx, key, r, size, opts)
	} else {
		info, err = b.store.Put(ctx, key, r, size, opts)
	}
	b.done(ctx, err)
	return operation.Object{Size: info.Size, ETag: info.ETag}, info.Existed, err
}

// Get implements [operation.Bucket]. It begins in bounded time.
func (b *bucket) Get(ctx context.Context, key, etag string, offset, length int64) (io.ReadCloser, error) {
	if err := b.breaker.Allow(time.Now()); err != nil {
		return nil, err
	}
	r, _, err := b.store.Get(ctx, key, blob.GetOptions{IfMatch: etag, Offset: offset, Length: length})
	b.done(ctx, err)
	return r, err
}

// done tells the breaker how the bucket did. A client that breaks off says
// nothing of that.
func (b *bucket) done(ctx context.Context, err error) {
	if _, client := errors.AsType[*problem.Error](err); client || ctx.Err() != nil {
		return
	}
	b.breaker.Done(time.Now(), err)
}
