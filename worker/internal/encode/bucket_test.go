package encode_test

import (
	"context"
	"io"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/platform/blob"
	"github.com/voicemill/voicemill/worker/internal/store"
)

// full is a bucket that takes no book once its first chapter is read for it. Whoever reads
// one waits as long as it may.
type full struct {
	*blob.Store
	reading chan struct{} // closed by who reads a chapter whole
}

var errFull = &job.Error{Op: "test", Kind: job.Overloaded}

func (f *full) Put(_ context.Context, _ string, r io.Reader, _ int64, _ blob.PutOptions) (blob.Info, error) {
	go io.Copy(io.Discard, r) //nolint:errcheck // ends with r
	<-f.reading
	return blob.Info{}, errFull
}

func (f *full) Get(ctx context.Context, key string, opt blob.GetOptions) (io.ReadCloser, blob.Info, error) {
	if opt.Length > 0 { // while the book is laid out
		return f.Store.Get(ctx, key, opt)
	}
	close(f.reading)
	<-ctx.Done()
	return f.Store.Get(ctx, key, opt)
}

// What is read for a book is given up because the bucket does not take it: that is no
// reason.
func TestABookSaysWhyItIsNotStored(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	id := b.joined(t, job.Output{Formats: []string{job.FormatMP3}}, 22050, 1.1, 1.2)
	b.encode(t, id, 1, 2)
	err := b.over(t, &full{b.blob, make(chan struct{})}).Encode(t.Context(), store.Due{JobID: id, Encode: true, Attempt: 1})
	require.ErrorIs(t, err, errFull)
}

// A chapter that cannot be read is why its book is not stored.
func TestABookSaysWhichChapterItIsNotOf(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	id := b.joined(t, job.Output{Formats: []string{job.FormatMP3}}, 22050, 1.1, 1.2)
	b.encode(t, id, 1, 2)
	b.exec(t, `update artifacts set sha256 = sha256('') where job_id = $1 and name = 'chapter-002.mp3'`, id)
	err := b.coder.Encode(t.Context(), store.Due{JobID: id, Encode: true, Attempt: 1})
	require.Equal(t, "A stored file is damaged.", job.PublicOf(err, ""))
}

// counting is a bucket that counts what is not read to its end, which costs a connection.
type counting struct {
	*blob.Store
	left int
}

func (c *counting) Get(ctx context.Context, key string, opt blob.GetOptions) (io.ReadCloser, blob.Info, error) {
	body, info, err := c.Store.Get(ctx, key, opt)
	return &counted{ReadCloser: body, of: c}, info, err
}

type counted struct {
	io.ReadCloser
	of    *counting
	ended bool
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.ReadCloser.Read(p)
	c.ended = c.ended || err == io.EOF
	return n, err
}

func (c *counted) Close() error {
	if !c.ended {
		c.of.left++
	}
	return c.ReadCloser.Close()
}

// A book of a thousand chapters asks a thousand times for what they begin with, and for
// little more than that.
func TestWhatAChapterBeginsWithIsReadToItsEnd(t *testing.T) {
	t.Parallel()
	for _, side := range []int{0, 1000} {
		b := newBench(t)
		id := b.joined(t, job.Output{Formats: []string{job.FormatM4B, job.FormatOpus}}, 22050, 1.1, 40)
		if side > 0 {
			b.pictured(t, id, job.MediaPNG, noise(t, job.MediaPNG, side))
		}
		b.encode(t, id, 1, 2)
		bucket := &counting{Store: b.blob}
		require.NoError(t, b.over(t, bucket).Encode(t.Context(), store.Due{JobID: id, Encode: true, Attempt: 1}))
		require.Zero(t, bucket.left, "with a cover of %d pixels", side)
	}
}
