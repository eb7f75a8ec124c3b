package edge_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

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

// hold asks for n things on one connection and returns what is to be answered.
func hold(c *client, held chan *edge.Exchange, n int) []*edge.Exchange {
	c.t.Helper()
	c.send(strings.Repeat(get, n))
	all := make([]*edge.Exchange, n)
	for i := range all {
		all[i] = <-held
	}
	return all
}

func TestAnswersThatWaitForOthersAreAccountedFor(t *testing.T) {
	t.Parallel()
	const n, size = 32, 256 << 10
	body := strings.Repeat("x", size)
	open := func(t *testing.T, cfg edge.Config) (*door, *client, []*edge.Exchange) {
		t.Helper()
		held := make(chan *edge.Exchange, n)
		d := open(t, cfg, func(ex *edge.Exchange) { ex.Detach(); held <- ex })
		c := d.dial()
		all := hold(c, held, n)
		for _, ex := range all[1:] {
			ex.Respond(text(200, body))
		}
		return d, c, all
	}
	counted := func(d *door) func() bool {
		return func() bool { return d.Stats().Buffered.Load() >= (n-1)*size }
	}
	nothing := func(d *door) func() bool { return func() bool { return d.Stats().Buffered.Load() == 0 } }
	t.Run("until they are sent", func(t *testing.T) {
		t.Parallel()
		d, c, all := open(t, edge.Config{})
		waitFor(t, "the answers to be counted", counted(d))
		all[0].Respond(text(200, "first"))
		c.want(200, "first")
		for range all[1:] {
			c.want(200, body)
		}
		waitFor(t, "them to be given back", nothing(d))
	})
	t.Run("until the client leaves", func(t *testing.T) {
		t.Parallel()
		d, c, _ := open(t, edge.Config{HalfClose: 20 * time.Millisecond})
		waitFor(t, "the answers to be counted", counted(d))
		_ = c.Close()
		waitFor(t, "them to be given back", nothing(d))
	})
	t.Run("and shed", func(t *testing.T) {
		t.Parallel()
		d, c, _ := open(t, edge.Config{MaxBuffered: 4 << 20})
		waitFor(t, "the connection to be shed", func() bool { return d.Stats().ShedMemory.Load() == 1 })
		waitFor(t, "them to be given back", nothing(d))
		if _, err := c.receive("GET"); err == nil {
			t.Error("a connection that was shed has an answer")
		}
	})
}

func TestNoRequestIsReadWhileManyAnswersWaitForOthers(t *testing.T) {
	t.Parallel()
	const n = 32
	body := strings.Repeat("x", 256<<10)
	held := make(chan *edge.Exchange, 1)
	d := open(t, edge.Config{}, func(ex *edge.Exchange) {
		if string(ex.Request().RawPath()) == "/wait" {
			ex.Detach()
			held <- ex
			return
		}
		ex.Respond(text(200, body))
	})
	c := d.dial()
	c.send("GET /wait HTTP/1.1\r\nHost: h\r\n\r\n" + strings.Repeat(get, n-1))
	ex := <-held
	waitFor(t, "answers to wait", func() bool { return d.Stats().Buffered.Load() > 1<<20 })
	if n := d.Stats().Requests.Load(); n > 1+5 {
		t.Errorf("%d requests were served while a megabyte of answers waits", n)
	}
	ex.Respond(text(200, "first"))
	c.want(200, "first")
	for range n - 1 {
		c.want(200, body)
	}
	waitFor(t, "everything to be given back", func() bool { return d.Stats().Buffered.Load() == 0 })
}
