package edge_test

import (
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/voicemill/voicemill/gateway/internal/edge"
	"github.com/voicemill/voicemill/gateway/internal/http1"
)

func TestPeerThatDoesNotReadDoesNotHoldUpTheDrain(t *testing.T) {
	t.Parallel()
	var writers sync.WaitGroup
	cfg := edge.Config{WriteStall: 2 * time.Minute, Grace: 2 * time.Minute, DrainStall: 50 * time.Millisecond}
	begun := make(chan struct{})
	d := open(t, cfg, func(ex *edge.Exchange) {
		ex.Upgrade([]http1.Field{{Name: "Upgrade", Value: "watch"}}, func(c *edge.Conn) edge.ConnHandler {
			writers.Go(func() { // as much as the peer lets it
				for err := error(nil); err == nil; {
					if err = c.Write(make([]byte, 64<<10)); errors.Is(err, edge.ErrCongested) {
						err = c.Wait(c.Context())
					}
				}
			})
			close(begun)
			return staying{}
		})
	})
	d.dial().send("GET / HTTP/1.1\r\nHost: h\r\nConnection: upgrade\r\nUpgrade: watch\r\n\r\n")
	<-begun
	d.close()
	writers.Wait()
	if n := d.Stats().CutStalled.Load(); n != 1 {
		t.Errorf("%d connections were cut because they did not read; want 1", n)
	}
}

// staying is a protocol that has not come to its end when the server drains.
type staying struct{ discard }

func (staying) OnDrain(*edge.Conn) {}
