package edge_test

import (
	"testing"
	"time"

	"github.com/voicemill/voicemill/gateway/internal/edge"
)

// A loop that has its hands full for long takes its own connections late. Those of
// the other loops must not wait for it.
func TestABusyLoopHoldsUpNoConnectionOfAnother(t *testing.T) {
	t.Parallel()
	busy, release := make(chan struct{}), make(chan struct{})
	d := open(t, edge.Config{Loops: 2}, func(ex *edge.Exchange) {
		if string(ex.Request().RawPath()) == "/busy" {
			close(busy)
			<-release
		}
		echo(ex)
	})
	d.dial().send("GET /busy HTTP/1.1\r\nHost: h\r\n\r\n")
	<-busy

	const clients = 8
	answered := make(chan error, clients)
	for range clients {
		c := d.dial()
		c.send(get)
		go func() {
			_, err := c.receive("GET")
			answered <- err
		}()
	}
	late := time.NewTimer(30 * time.Second)
	defer late.Stop()
	n := 0
	for n < clients-1 { // one may be on its way to the busy loop
		select {
		case err := <-answered:
			n++
			if err != nil {
				t.Errorf("a client got no answer: %v", err)
			}
			continue
		case <-late.C:
			t.Errorf("%d of %d clients were answered beside a busy loop; want all but one", n, clients)
		}
		break
	}
	close(release)
	for ; n < clients; n++ {
		if err := <-answered; err != nil {
			t.Errorf("a client got no answer after the loop was free again: %v", err)
		}
	}
}
