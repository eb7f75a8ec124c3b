package cli

import (
	"sync"
	"time"

	"github.com/voicemill/voicemill/voicemill/internal/cli/console"
	"github.com/voicemill/voicemill/voicemill/internal/progress"
)

// transferPause is the least time between two drawings of a transfer.
const transferPause = 100 * time.Millisecond

// transfer shows how much of a file has moved, on a terminal only. The HTTP
// client may read a body for a moment longer than the call takes, so add may
// be called at any time.
type transfer struct {
	mu     sync.Mutex      // guards everything
	screen *console.Screen // nil: nobody looks
	moving bool
	name   string
	size   int64
	drawn  time.Time
}

func newTransfer(s *console.Screen) *transfer { return &transfer{screen: s} }

func (t *transfer) begin(name string, size int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.name, t.size, t.moving, t.drawn = name, size, true, time.Time{}
}

// add is told how many bytes of the file have moved so far.
func (t *transfer) add(moved int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.screen == nil || !t.moving || t.size == 0 || time.Since(t.drawn) < transferPause {
		return
	}
	t.drawn = time.Now()
	label := progress.Clip(progress.Clean(t.name), maxTitle) + "  " + bytesOf(moved) + " of " + bytesOf(t.size)
	t.screen.Draw(label + "\n" + progress.Bar(float64(moved)/float64(t.size), t.screen.Width()))
}

func (t *transfer) end() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.moving && !t.drawn.IsZero() {
		t.screen.Clear()
	}
	t.moving = false
}

// close gives the cursor back.
func (t *transfer) close() {
	t.end()
	t.screen.Close()
}
