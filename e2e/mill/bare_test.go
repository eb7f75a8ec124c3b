package mill_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/voicemill/voicemill/platform/blob"
	"github.com/voicemill/voicemill/platform/wav"
)

// bare stores so many renditions in a bucket, and of each chapter's reads all again and
// stores them as one: what everything else could at best be as fast as. It returns how
// long that took.
func bare(ctx context.Context, bucket *blob.Store, prefix string, segments int) (time.Duration, error) {
	sound := make([]byte, rendition)
	for i := range sound {
		sound[i] = byte(i * 131)
	}
	begun := time.Now()
	all, ctx := errgroup.WithContext(ctx)
	puts, joins := make(chan struct{}, calls), make(chan struct{}, 2)
	for first := 0; first < segments; first += aChapter {
		n := min(aChapter, segments-first)
		chapter, cctx := errgroup.WithContext(ctx)
		for i := range n {
			puts <- struct{}{}
			chapter.Go(func() error {
				defer func() { <-puts }()
				_, err := bucket.Put(cctx, segmentKey(prefix, first+i), bytes.NewReader(sound), int64(len(sound)), blob.PutOptions{ContentType: "audio/wav", IfAbsent: true})
				return err
			})
		}
		all.Go(func() error {
			if err := chapter.Wait(); err != nil {
				return err
			}
			joins <- struct{}{}
			defer func() { <-joins }()
			return join(ctx, bucket, prefix, first, n)
		})
	}
	err := all.Wait()
	return time.Since(begun), err
}

// rendition is how many bytes a sentence has.
var rendition = wav.FileSize(int64(math.Trunc(rate * (.2 + length/cps))))

func segmentKey(prefix string, i int) string {
	return fmt.Sprintf("renditions/bare/%s/%06d.wav", prefix, i)
}

// join reads n renditions and stores them as one.
func join(ctx context.Context, bucket *blob.Store, prefix string, first, n int) error {
	pr, pw := io.Pipe()
	go func() { // ends with the last rendition, or when pr is closed
		for i := range n {
			body, _, err := bucket.Get(ctx, segmentKey(prefix, first+i), blob.GetOptions{})
			if err == nil {
				_, err = io.Copy(pw, body)
				_ = body.Close() // it was read
			}
			if err != nil {
				_ = pw.CloseWithError(err)
				return
			}
		}
		_ = pw.Close()
	}()
	_, err := bucket.Put(ctx, fmt.Sprintf("jobs/bare/%s/%06d.wav", prefix, first), pr, int64(n)*rendition, blob.PutOptions{ContentType: "audio/wav"})
	_ = pr.Close()
	return err
}
