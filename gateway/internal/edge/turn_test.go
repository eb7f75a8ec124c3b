package edge_test

import (
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/voicemill/voicemill/gateway/internal/edge"
	"github.com/voicemill/voicemill/gateway/internal/http1"
)

// gate is a handler that stops its event loop at /stop, so that a test can see
// to it that input of many connections is there when the loop goes on, and that
// counts what is served between then and /polite.
type gate struct {
	stopped, open chan struct{}
	floods        atomic.Int64 // requests
	between       chan int64
	last          int64 // on the loop
}

func newGate() *gate {
	return &gate{stopped: make(chan struct{}), open: make(chan struct{}), between: make(chan int64, 1)}
}

func (g *gate) serve(ex *edge.Exchange) {
	switch string(ex.Request().RawPath()) {
	case "/stop":
		g.stopped <- struct{}{}
		<-g.open
		g.last = g.floods.Load()
	case "/polite":
		g.between <- g.floods.Load() - g.last
	default:
		g.floods.Add(1)
	}
	echo(ex)
}

// flood sends requests without end over n connections. What it returns ends that.
func flood(d *door, n int, reads bool) (end func()) {
	var all sync.WaitGroup
	conns := make([]*net.TCPConn, n)
	burst := strings.Repeat("GET /flood HTTP/1.1\r\nHost: h\r\n\r\n", 1000)
	for i := range conns {
		conns[i] = dial(d.t, d.Addr().String())
		all.Go(func() {
			for {
				if _, err := io.WriteString(conns[i], burst); err != nil {
					return
				}
			}
		})
		if reads {
			all.Go(func() { _, _ = io.Copy(io.Discard, conns[i]) })
		}
	}
	return func() {
		for _, c := range conns {
			_ = c.Close()
		}
		all.Wait()
	}
}

func TestFloodingPeersDoNotTakeTurnsFromOthers(t *testing.T) {
	t.Parallel()
	const peers = 8
	for name, reads := range map[string]bool{"that read their answers": true, "that read nothing": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := newGate()
			d := open(t, edge.Config{Loops: 1}, g.serve)
			stopper, polite := d.dial(), d.dial()
			end := flood(d, peers, reads)
			defer end()
			for range 20 {
				stopper.send("GET /stop HTTP/1.1\r\nHost: h\r\n\r\n")
				<-g.stopped
				polite.send("GET /polite HTTP/1.1\r\nHost: h\r\n\r\n")
				g.open <- struct{}{}
				stopper.want(200, "GET /stop ")
				polite.want(200, "GET /polite ")
				// A turn of every peer that is served when its input arrives, twice, because
				// the loop may have seen the input of some before; and what waits for its turn.
				if n := <-g.between; n > 2*peers*edge.TurnRequests+2*(edge.TurnEffort+edge.TurnRequests) {
					t.Errorf("%d requests of flooding peers went before one that had arrived", n)
				}
			}
		})
	}
}

func TestManyRequestsAtOnceAreAnsweredInOrder(t *testing.T) {
	t.Parallel()
	for name, size := range map[string]int{"of a few bytes": 0, "of a kilobyte": 1000} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			const requests = 5000
			d := open(t, edge.Config{Loops: 1}, echo)
			c := d.dial()
			var sent sync.WaitGroup
			sent.Go(func() {
				var all strings.Builder
				for i := range requests {
					fmt.Fprintf(&all, "GET /%d HTTP/1.1\r\nHost: h\r\nX-Fill: %s\r\n\r\n", i, strings.Repeat("x", size))
				}
				_, _ = io.WriteString(c, all.String())
			})
			for i := range requests {
				c.want(200, fmt.Sprintf("GET /%d ", i))
			}
			sent.Wait()
			c.send(get)
			c.want(200, "GET / ")
		})
	}
}

func TestManyWritesFromOutsideDoNotKeepTheLoopFromItsSockets(t *testing.T) {
	t.Parallel()
	const conns = 500
	g := newGate()
	var told atomic.Int64
	up := make(chan *edge.Conn, conns)
	d := open(t, edge.Config{Loops: 1}, func(ex *edge.Exchange) {
		upgraded := ex.Upgrade([]http1.Field{{Name: "Upgrade", Value: "told"}}, func(c *edge.Conn) edge.ConnHandler {
			up <- c
			return discard{}
		})
		if !upgraded {
			g.serve(ex)
		}
	})
	stopper, polite := d.dial(), d.dial()
	all := make([]*edge.Conn, conns)
	for i := range all {
		d.dial().send("GET / HTTP/1.1\r\nHost: h\r\nConnection: upgrade\r\nUpgrade: told\r\n\r\n")
		all[i] = <-up
	}
	stopper.send("GET /stop HTTP/1.1\r\nHost: h\r\n\r\n")
	<-g.stopped
	for _, c := range all {
		if err := c.Write([]byte("hello")); err != nil {
			t.Fatal(err)
		}
		if !c.AskRoom(func() { g.floods.Add(1); told.Add(1) }) {
			t.Fatal("nothing waits to be sent")
		}
	}
	polite.send("GET /polite HTTP/1.1\r\nHost: h\r\n\r\n")
	g.open <- struct{}{}
	polite.want(200, "GET /polite ")
	if n := <-g.between; n > 2*edge.TurnEffort {
		t.Errorf("%d connections were written to before a request was read that had arrived", n)
	}
	waitFor(t, "all to be written", func() bool { return told.Load() == conns })
}

func TestALoopThatIsHeldUpShowsItsLag(t *testing.T) {
	t.Parallel()
	const held = int64(250 * time.Millisecond)
	g := newGate()
	d := open(t, edge.Config{}, g.serve)
	c := d.dial()
	for range 2 {
		c.send("GET /stop HTTP/1.1\r\nHost: h\r\n\r\n")
		<-g.stopped
		waitFor(t, "the lag of a loop that stands still to grow", func() bool { return d.Stats().LoopLag.Load() >= held })
		g.open <- struct{}{}
		c.want(200, "GET /stop ")
		waitFor(t, "the lag to fall back", func() bool { return d.Stats().LoopLag.Load() < held/2 })
	}
}
