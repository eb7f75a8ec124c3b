package edge_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/voicemill/voicemill/gateway/internal/edge"
)

func TestPartialBodiesCannotExhaustMemory(t *testing.T) {
	t.Parallel()
	const budget = 4 << 20
	d := open(t, edge.Config{MaxBuffered: budget}, echo)
	small := d.dial()
	half := strings.Repeat("x", 512<<10)
	var slow []*client
	for range 20 {
		c := d.dial()
		c.send(fmt.Sprintf("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n%s", 2*len(half), half))
		slow = append(slow, c)
		if n := d.Stats().Buffered.Load(); n > 3*budget {
			t.Fatalf("%d bytes are buffered", n)
		}
	}
	waitFor(t, "some to be shed", func() bool { return d.Stats().ShedMemory.Load() >= 8 })
	small.send(get)
	small.want(200, "GET / ")
	served, shed := 0, 0
	for _, c := range slow {
		_, _ = c.Write([]byte(half))
		a, err := c.receive("POST")
		switch {
		case err == nil && a.status == 200:
			served++
		case err == nil && a.status == 503 && a.close:
			shed++
		default:
			t.Errorf("got %d, %v", a.status, err)
		}
		_ = c.Close()
	}
	if served < 2 || shed < 8 {
		t.Errorf("%d were served and %d shed", served, shed)
	}
	_ = small.Close()
	waitFor(t, "everything to be given back", func() bool { return d.Stats().Open.Load() == 0 })
	if n := d.Stats().Buffered.Load(); n != 0 {
		t.Errorf("%d bytes are accounted for without a connection", n)
	}
}

func TestWaitingRequestsAreAccountedFor(t *testing.T) {
	t.Parallel()
	held := make(chan *edge.Exchange, 1)
	d := open(t, edge.Config{}, func(ex *edge.Exchange) { ex.Detach(); held <- ex })
	c := d.dial()
	c.send(fmt.Sprintf("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n%s", 100_000, strings.Repeat("x", 100_000)))
	ex := <-held
	waitFor(t, "the body to be counted", func() bool { n := d.Stats().Buffered.Load(); return n >= 100_000 && n < 200_000 })
	echo(ex)
	c.want(200, "")
	waitFor(t, "the body to be given back", func() bool { return d.Stats().Buffered.Load() == 0 })
}
