package assemble_test

import (
	"context"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/platform/blob"
	"github.com/voicemill/voicemill/platform/bus"
	"github.com/voicemill/voicemill/worker/internal/assemble"
	"github.com/voicemill/voicemill/worker/internal/plantest"
)

// crowd is a bucket that opens renditions only when so many are asked for at once.
type crowd struct {
	assemble.Blob
	size int

	mu    sync.Mutex
	asked int
	all   chan struct{} // closed when enough have asked
}

func (c *crowd) Get(ctx context.Context, key string, opt blob.GetOptions) (io.ReadCloser, blob.Info, error) {
	if strings.HasPrefix(key, "renditions/") {
		c.mu.Lock()
		if c.asked++; c.asked == c.size {
			close(c.all)
		}
		c.mu.Unlock()
		select {
		case <-c.all:
		case <-time.After(time.Minute):
			return nil, blob.Info{}, context.DeadlineExceeded
		case <-ctx.Done():
			return nil, blob.Info{}, context.Cause(ctx)
		}
	}
	return c.Blob.Get(ctx, key, opt)
}

func TestRenditionsAreOpenedSideBySide(t *testing.T) {
	t.Parallel()
	c := &crowd{size: 4, all: make(chan struct{})}
	b := newBenchOver(t, func(between assemble.Blob) assemble.Blob { c.Blob = between; return c })
	p := plantest.Insert(t, b.db, plantest.Book{Chapters: []plantest.Chapter{plantest.Sentences("One", strings.Fields("a b c d e f g h i j k l")...)}})
	b.render(t, p, func(bus.Segment) (int, []int16) { return rate, ramp(1000) })
	b.do(t, p.ID, 1)
	state, detail := b.chapter(t, p.ID)
	require.Equal(t, job.ChapterReady, state, detail)
}
