package edge_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/voicemill/voicemill/gateway/internal/edge"
	"github.com/voicemill/voicemill/gateway/internal/http1"
)

func TestPanickingHandlerCostsItsConnectionOnly(t *testing.T) {
	t.Parallel()
	d := open(t, edge.Config{Loops: 1}, func(ex *edge.Exchange) {
		if string(ex.Request().RawPath()) == "/panic" {
			panic("on purpose")
		}
		echo(ex)
	})
	other := d.dial()
	other.send(get)
	other.want(200, "")

	c := d.dial()
	c.send(get + "GET /panic HTTP/1.1\r\nHost: h\r\n\r\n" + get)
	c.want(200, "")
	if a := c.want(500, ""); !a.close || a.header.Get("Content-Type") != "application/problem+json" {
		t.Errorf("answer to the panic is %+v; want a problem document and the end", a)
	}
	c.wantEnd()

	other.send(get)
	other.want(200, "")
	if n := d.Stats().Panics.Load(); n != 1 {
		t.Errorf("%d panics counted; want 1", n)
	}
}

func TestPanicAfterTheAnswerEndsTheConnectionAfterIt(t *testing.T) {
	t.Parallel()
	held := make(chan *edge.Exchange, 1)
	d := open(t, edge.Config{}, func(ex *edge.Exchange) {
		if string(ex.Request().RawPath()) == "/later" {
			ex.Detach()
			held <- ex
			return
		}
		echo(ex)
		panic("on purpose")
	})
	c := d.dial()
	c.send(get)
	c.want(200, "GET / ")
	c.wantEnd()
	c = d.dial()
	c.send("GET /later HTTP/1.1\r\nHost: h\r\n\r\n" + get)
	waitFor(t, "the second panic", func() bool { return d.Stats().Panics.Load() == 2 })
	echo(<-held)
	c.want(200, "GET /later ")
	c.want(200, "GET / ")
	c.wantEnd()
}

func TestPanickingCallbackKeepsNothingFromBeingDone(t *testing.T) {
	t.Parallel()
	told := make(chan struct{})
	d := open(t, edge.Config{}, func(ex *edge.Exchange) {
		ex.Upgrade([]http1.Field{{Name: "Upgrade", Value: "watch"}}, func(c *edge.Conn) edge.ConnHandler {
			_ = c.Write([]byte("x"))
			c.AskRoom(func() { panic("on purpose") })
			c.AskRoom(func() { close(told) })
			return staying{}
		})
	})
	d.dial().send("GET / HTTP/1.1\r\nHost: h\r\nConnection: upgrade\r\nUpgrade: watch\r\n\r\n")
	<-told
	if n := d.Stats().Panics.Load(); n != 1 {
		t.Errorf("%d panics counted; want 1", n)
	}
}

func TestPeerThatDoesNotReadIsCut(t *testing.T) {
	t.Parallel()
	body := strings.Repeat("x", 256<<10)
	d := open(t, edge.Config{WriteStall: 100 * time.Millisecond}, func(ex *edge.Exchange) { ex.Respond(text(200, body)) })
	c := d.dial()
	sent := 0
	for ; sent < 1000; sent++ {
		if _, err := io.WriteString(c, get); err != nil {
			break
		}
	}
	for d.Stats().CutStalled.Load()+d.Stats().CutBacklog.Load() == 0 {
		if _, err := io.WriteString(c, get); err != nil {
			break
		}
	}
	if n, err := io.Copy(io.Discard, c.r); err == nil && n >= int64(sent)*int64(len(body)) {
		t.Errorf("a peer that did not read got all of %d answers", sent)
	}
	waitFor(t, "the connection to be closed", func() bool { return d.Stats().Open.Load() == 0 })
}

func TestLargeAnswerArrivesWholeAtASlowReader(t *testing.T) {
	t.Parallel()
	body := strings.Repeat("0123456789abcdef", 1<<19)
	d := open(t, edge.Config{}, func(ex *edge.Exchange) { ex.Respond(text(200, body)) })
	c := d.dial()
	_ = c.SetReadBuffer(64 << 10)
	c.send("GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
	a, err := c.receive(http.MethodGet)
	if err != nil || a.body != body {
		t.Errorf("got %d bytes and %v; want %d", len(a.body), err, len(body))
	}
	c.wantEnd()
}

func TestPeerThatNeverStopsSendingIsCut(t *testing.T) {
	t.Parallel()
	d := open(t, edge.Config{MaxBacklog: 64 << 10}, func(*edge.Exchange) {}) // never answers
	c := d.dial()
	var err error
	n := 0
	for ; err == nil && n < 1<<20; n++ {
		_, err = io.WriteString(c, get)
	}
	if err == nil {
		t.Fatal("requests are taken without end")
	}
	if d.Stats().CutBacklog.Load() != 1 {
		t.Errorf("connection ended with %v after %d requests, but not for its backlog", err, n)
	}
}

func TestWritesFromOutsideDoNotStarveOtherConnections(t *testing.T) {
	t.Parallel()
	stop := make(chan struct{})
	var writers sync.WaitGroup
	d := open(t, edge.Config{Loops: 1}, func(ex *edge.Exchange) {
		if !ex.Upgrade([]http1.Field{{Name: "Upgrade", Value: "flood"}}, func(c *edge.Conn) edge.ConnHandler {
			writers.Go(func() {
				line := []byte(strings.Repeat("f", 1000))
				for {
					select {
					case <-stop:
						return
					default:
						if errors.Is(c.Write(line), net.ErrClosed) {
							return
						}
					}
				}
			})
			return discard{}
		}) {
			echo(ex)
		}
	})
	flooded := d.dial()
	flooded.send("GET / HTTP/1.1\r\nHost: h\r\nConnection: upgrade\r\nUpgrade: flood\r\n\r\n")
	var drained sync.WaitGroup
	drained.Go(func() { _, _ = io.Copy(io.Discard, flooded.r) })
	c := d.dial()
	for range 50 {
		c.send(get)
		c.want(200, "GET / ")
	}
	close(stop)
	writers.Wait()
	_ = flooded.Close()
	drained.Wait()
}

type discard struct{}

func (discard) OnBytes(_ *edge.Conn, data []byte) (int, error) { return len(data), nil }
func (discard) OnClose(error)                                  {}

func TestAnswersReachAClientThatShutItsSendingSide(t *testing.T) {
	t.Parallel()
	held := make(chan *edge.Exchange, 3)
	d := open(t, edge.Config{}, func(ex *edge.Exchange) { ex.Detach(); held <- ex })
	c := d.dial()
	c.send("GET /1 HTTP/1.1\r\nHost: h\r\n\r\nGET /2 HTTP/1.1\r\nHost: h\r\n\r\nGET /half")
	if err := c.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	one, two := <-held, <-held
	waitFor(t, "the end of input to be seen", func() bool { return d.Stats().HalfClosed.Load() == 1 })
	two.Respond(text(200, strings.Repeat("2", 8<<20)))
	one.Respond(text(200, "1"))
	c.want(200, "1")
	c.want(200, strings.Repeat("2", 8<<20))
	c.wantEnd()
	waitFor(t, "the connection to be closed", func() bool { return d.Stats().Open.Load() == 0 })
}

func TestHandlerLearnsThatTheClientIsGone(t *testing.T) {
	t.Parallel()
	for name, leave := range map[string]func(c *client){
		"reset":    func(c *client) { _ = c.SetLinger(0); _ = c.Close() },
		"closed":   func(c *client) { _ = c.Close() },
		"shut":     func(c *client) { _ = c.CloseWrite() },
		"shut-rst": func(c *client) { _ = c.CloseWrite(); _ = c.SetLinger(0); _ = c.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			told := make(chan struct{})
			d := open(t, edge.Config{HalfClose: 200 * time.Millisecond}, func(ex *edge.Exchange) {
				ex.Detach()
				context.AfterFunc(ex.Context(), func() {
					if !ex.Gone() || ex.Overdue() {
						t.Errorf("Gone is %t and Overdue is %t when the client is gone", ex.Gone(), ex.Overdue())
					}
					ex.Respond(text(200, "too late"))
					close(told)
				})
			})
			c := d.dial()
			c.send(get)
			waitFor(t, "the request to arrive", func() bool { return d.Stats().Requests.Load() == 1 })
			leave(c)
			select {
			case <-told:
			case <-time.After(time.Minute):
				t.Error("the handler was not told")
			}
		})
	}
}

func TestEverythingPipelinedIsAnsweredThoughTheClientHasFinished(t *testing.T) {
	t.Parallel()
	d := open(t, edge.Config{MaxInFlight: 4}, func(ex *edge.Exchange) {
		ex.Detach()
		go echo(ex)
	})
	c := d.dial()
	for i := range 100 {
		c.send(fmt.Sprintf("GET /%d HTTP/1.1\r\nHost: h\r\n\r\n", i))
	}
	_ = c.CloseWrite()
	for i := range 100 {
		c.want(200, fmt.Sprintf("GET /%d ", i))
	}
	c.wantEnd()
}

func TestOnlyTheFirstOfManyAnswersCounts(t *testing.T) {
	t.Parallel()
	const requests, answers = 4, 8
	done := make(chan struct{}, requests*answers)
	d := open(t, edge.Config{}, func(ex *edge.Exchange) {
		ex.Detach()
		for i := range answers {
			go func() {
				_ = ex.Context().Err()
				_ = ex.Gone()
				ex.Respond(text(200, fmt.Sprint(i)+strings.Repeat("x", i*10_000)))
				done <- struct{}{}
			}()
		}
	})
	c := d.dial()
	c.send(get + get + get)
	for range requests - 1 {
		c.want(200, "")
	}
	c.send("GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
	c.want(200, "")
	c.wantEnd()
	for range requests * answers {
		<-done
	}
}

func TestRequestsCutAtEveryByte(t *testing.T) {
	t.Parallel()
	d := open(t, edge.Config{}, echo)
	m := "POST /a%62c HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX: y\r\n\r\n" + get
	c := d.dial()
	for cut := 1; cut < len(m); cut++ {
		c.send(m[:cut])
		c.send(m[cut:])
		c.want(200, "POST /a%62c abc")
		c.want(200, "GET / ")
	}
	for cut := range m { // and the client goes away there
		c := d.dial()
		c.send(m[:cut])
		if cut%2 == 0 {
			_ = c.SetLinger(0)
		}
		_ = c.Close()
	}
	waitFor(t, "all connections to be closed", func() bool { return d.Stats().Open.Load() == 1 })
}

func TestRefusalIsNotLostWhileTheClientStillSends(t *testing.T) {
	t.Parallel()
	d := open(t, edge.Config{}, echo)
	for range 20 {
		c := d.dial()
		c.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 9000000\r\n\r\n")
		for range 8 {
			_, _ = io.WriteString(c, strings.Repeat("x", 64<<10))
		}
		if a := c.want(413, ""); !a.close {
			t.Error("413 without Connection: close")
		}
		c.wantEnd()
		_ = c.Close()
	}
}

func TestTimeOutsAnswerOrCloseByPhase(t *testing.T) {
	t.Parallel()
	const soon = 100 * time.Millisecond
	head, body, late := edge.Config{HeadTimeout: soon}, edge.Config{BodyTimeout: soon}, edge.Config{AnswerTimeout: soon}
	for name, test := range map[string]struct {
		cfg      edge.Config // has the time-out that the case waits for
		send     string
		statuses []int
	}{
		"nothing sent":              {edge.Config{IdleTimeout: soon}, "", nil},
		"head never ends":           {head, "GET / HTTP/1.1\r\nHost", []int{408}},
		"body never ends":           {body, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhi", []int{408}},
		"chunked body never ends":   {body, "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhi", []int{408}},
		"idle after an answer":      {edge.Config{IdleTimeout: 2 * time.Second}, get, []int{200}}, // which the request must beat
		"second head never ends":    {head, get + "G", []int{200, 408}},
		"handler does not answer":   {late, "GET /never HTTP/1.1\r\nHost: h\r\n\r\n", []int{503}},
		"answers behind a dead one": {late, "GET /never HTTP/1.1\r\nHost: h\r\n\r\n" + get, []int{503}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var told sync.WaitGroup
			c := open(t, test.cfg, func(ex *edge.Exchange) {
				if string(ex.Request().RawPath()) != "/never" {
					echo(ex)
					return
				}
				ctx := ex.Context()
				told.Go(func() {
					<-ctx.Done()
					if !ex.Gone() || !ex.Overdue() {
						t.Error("the handler is not told that the time was up")
					}
				})
			}).dial()
			defer told.Wait()
			c.send(test.send)
			for _, status := range test.statuses {
				c.want(status, "")
			}
			c.wantEnd()
		})
	}
}

func TestContinueIsSentWhenTheBodyIsWanted(t *testing.T) {
	t.Parallel()
	d := open(t, edge.Config{}, echo)
	c := d.dial()
	c.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n")
	for _, want := range []string{"HTTP/1.1 100 Continue\r\n", "\r\n"} {
		if line, err := c.r.ReadString('\n'); line != want || err != nil {
			t.Fatalf("got %q, %v; want %q", line, err, want)
		}
	}
	c.send("hi")
	c.want(200, "POST / hi")
	c.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 2000000\r\nExpect: 100-continue\r\n\r\n")
	c.want(413, "")
}

func TestHeadGetsTheLengthWithoutTheBody(t *testing.T) {
	t.Parallel()
	c := open(t, edge.Config{}, echo).dial()
	c.send("HEAD /x HTTP/1.1\r\nHost: h\r\n\r\n")
	a, err := c.receive(http.MethodHead)
	if err != nil || a.status != 200 || a.header.Get("Content-Length") != "8" || a.body != "" {
		t.Errorf("answer to HEAD is %+v, %v", a, err)
	}
	c.send(get)
	c.want(200, "GET / ")
}

func TestSurplusConnectionsAreToldToComeBack(t *testing.T) {
	t.Parallel()
	d := open(t, edge.Config{MaxConns: 2}, echo)
	kept := []*client{d.dial(), d.dial()}
	for _, c := range kept {
		c.send(get)
		c.want(200, "")
	}
	c := d.dial()
	if a := c.want(503, ""); !a.close || a.header.Get("Retry-After") == "" {
		t.Errorf("surplus connection got %+v", a)
	}
	c.wantEnd()
	_ = kept[0].Close()
	waitFor(t, "a place to become free", func() bool { return d.Stats().Open.Load() == 1 })
	c = d.dial()
	c.send(get)
	c.want(200, "")
}

func TestThousandsOfConnectionsLeaveNothingBehind(t *testing.T) {
	t.Parallel()
	d := open(t, edge.Config{}, echo)
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for i := range 150 {
				nc, err := new(net.Dialer).DialContext(t.Context(), "tcp", d.Addr().String())
				if err != nil {
					t.Error(err)
					return
				}
				switch i % 4 {
				case 0:
					_ = nc.(*net.TCPConn).SetLinger(0)
				case 1:
					_, _ = io.WriteString(nc, "GET /")
				case 2:
					_, _ = io.WriteString(nc, get)
				case 3:
					_, _ = io.WriteString(nc, get)
					_, _ = io.ReadAtLeast(nc, make([]byte, 16), 16)
				}
				_ = nc.Close()
			}
		})
	}
	all.Wait()
	waitFor(t, "all connections to be closed", func() bool {
		return d.Stats().Open.Load() == 0 && d.Stats().Accepted.Load() == 8*150
	})
}

func TestDrainAnswersWhatIsInFlight(t *testing.T) {
	t.Parallel()
	held := make(chan *edge.Exchange, 1)
	d := open(t, edge.Config{DrainIdle: 50 * time.Millisecond}, func(ex *edge.Exchange) {
		if string(ex.Request().RawPath()) == "/later" {
			ex.Detach()
			held <- ex
			return
		}
		echo(ex)
	})
	idle, busy := d.dial(), d.dial()
	idle.send(get)
	idle.want(200, "")
	busy.send("GET /later HTTP/1.1\r\nHost: h\r\n\r\n")
	ex := <-held
	d.stop()
	<-d.Draining()
	idle.wantEnd()
	if nc, err := new(net.Dialer).DialContext(t.Context(), "tcp", d.Addr().String()); err == nil {
		_ = nc.Close()
		t.Error("a draining server accepts connections")
	} else if !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("dialling a draining server: %v", err)
	}
	ex.Respond(text(200, "late"))
	if a := busy.want(200, "late"); !a.close {
		t.Error("an answer while draining does not close the connection")
	}
	busy.wantEnd()
	if err := <-d.done; err != nil {
		t.Errorf("Run: %v", err)
	}
	d.done <- nil
}

func TestGraceEndsAndContextsSayWhy(t *testing.T) {
	t.Parallel()
	held := make(chan *edge.Exchange, 1)
	d := open(t, edge.Config{Grace: 50 * time.Millisecond}, func(ex *edge.Exchange) { ex.Detach(); held <- ex })
	c := d.dial()
	c.send(get)
	ex := <-held
	ctx := ex.Context()
	d.close()
	if ctx.Err() == nil {
		t.Error("the context of an unanswered request is alive after the server ended")
	}
	ex.Respond(text(200, "too late"))
	if _, err := c.receive(http.MethodGet); err == nil {
		t.Error("a cut connection got an answer")
	}
}
