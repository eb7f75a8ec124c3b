package edge_test

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/voicemill/voicemill/gateway/internal/edge"
	"github.com/voicemill/voicemill/gateway/internal/http1"
)

// lines is a protocol of lines: each is echoed in capitals; "bye" ends it.
type lines struct {
	closed chan error
	timed  atomic.Int32
	drains atomic.Int32
}

var errBye = errors.New("bye")

func (l *lines) OnBytes(c *edge.Conn, data []byte) (int, error) {
	used := 0
	for {
		i := bytes.IndexByte(data[used:], '\n')
		if i < 0 {
			return used, nil
		}
		line := data[used : used+i+1]
		used += i + 1
		if string(line) == "bye\n" {
			return used, errBye
		}
		if string(line) == "timer\n" {
			c.SetTimer(20 * time.Millisecond)
			continue
		}
		if err := c.Write(bytes.ToUpper(line)); err != nil {
			return used, err
		}
	}
}

func (l *lines) OnClose(err error)    { l.closed <- err }
func (l *lines) OnTimer(c *edge.Conn) { l.timed.Add(1); _ = c.Write([]byte("timer\n")) }
func (l *lines) OnDrain(c *edge.Conn) {
	l.drains.Add(1)
	_ = c.Write([]byte("drain\n"))
	c.Close(errBye)
}

const upgradeRequest = "GET /up HTTP/1.1\r\nHost: h\r\nConnection: keep-alive, Upgrade\r\nUpgrade: lines\r\n\r\n"

func upgrading(l *lines) edge.HandlerFunc {
	return func(ex *edge.Exchange) {
		if string(ex.Request().RawPath()) != "/up" {
			echo(ex)
			return
		}
		ok := ex.Upgrade([]http1.Field{{Name: "Upgrade", Value: "lines"}}, func(c *edge.Conn) edge.ConnHandler {
			_ = c.Write([]byte("hello\n"))
			return l
		})
		if !ok {
			ex.Respond(text(426, "upgrade"))
		}
	}
}

func (c *client) line(want string) {
	c.t.Helper()
	if got, err := c.r.ReadString('\n'); got != want || err != nil {
		c.t.Fatalf("line = %q, %v; want %q", got, err, want)
	}
}

func TestUpgradeHandsTheStreamOverWithoutLosingBytes(t *testing.T) {
	t.Parallel()
	for name, stream := range map[string]string{
		"bytes follow the request at once": get + upgradeRequest + "a\nb\nbye\n",
		"bytes come later":                 get + upgradeRequest,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := &lines{closed: make(chan error, 1)}
			c := open(t, edge.Config{}, upgrading(l)).dial()
			c.send(stream)
			c.want(200, "GET / ")
			c.line("HTTP/1.1 101 Switching Protocols\r\n")
			for got := ""; got != "\r\n"; {
				var err error
				if got, err = c.r.ReadString('\n'); err != nil {
					t.Fatal(err)
				}
			}
			c.line("hello\n")
			if !strings.HasSuffix(stream, "bye\n") {
				for _, b := range "a\nb\n" {
					c.send(string(b))
				}
			}
			c.line("A\n")
			c.line("B\n")
			if !strings.HasSuffix(stream, "bye\n") {
				c.send("timer\nb")
				c.line("timer\n")
				c.send("ye\n")
			}
			c.wantEnd()
			_ = c.Close()
			if err := <-l.closed; !errors.Is(err, errBye) {
				t.Errorf("OnClose got %v", err)
			}
		})
	}
}

func TestRequestThatAsksForAnUpgradeMayBeAnsweredOtherwise(t *testing.T) {
	t.Parallel()
	c := open(t, edge.Config{}, func(ex *edge.Exchange) {
		if string(ex.Request().RawPath()) == "/up" {
			ex.Detach()
			go echo(ex)
			return
		}
		if ex.Upgrade(nil, nil) {
			t.Error("a request was upgraded that does not ask for it")
		}
		echo(ex)
	}).dial()
	c.send(upgradeRequest + get)
	c.want(200, "GET /up ")
	c.want(200, "GET / ")
}

func TestUpgradedConnectionTakesLeaveWhenTheServerDrains(t *testing.T) {
	t.Parallel()
	l := &lines{closed: make(chan error, 1)}
	d := open(t, edge.Config{}, upgrading(l))
	c := d.dial()
	c.send(upgradeRequest + "a\n")
	for got := ""; got != "A\n"; got, _ = c.r.ReadString('\n') {
	}
	d.stop()
	c.line("drain\n")
	c.wantEnd()
	_ = c.Close()
	if err := <-l.closed; !errors.Is(err, errBye) || l.drains.Load() != 1 {
		t.Errorf("OnClose got %v after %d drains", err, l.drains.Load())
	}
}

func TestWritesAreRefusedWhenThePeerDoesNotRead(t *testing.T) {
	t.Parallel()
	conns := make(chan *edge.Conn, 1)
	d := open(t, edge.Config{MaxOutbound: 100_000}, func(ex *edge.Exchange) {
		ex.Upgrade([]http1.Field{{Name: "Upgrade", Value: "x"}}, func(c *edge.Conn) edge.ConnHandler {
			conns <- c
			return discard{}
		})
	})
	c := d.dial()
	c.send(upgradeRequest)
	conn := <-conns
	written := 0
	piece := bytes.Repeat([]byte("x"), 10_000)
	for err := error(nil); err == nil; written++ {
		if err = conn.Write(piece); err != nil && !errors.Is(err, edge.ErrCongested) {
			t.Fatal(err)
		}
		if n := conn.Buffered(); n > 100_000 {
			t.Fatalf("%d bytes wait for the peer", n)
		}
	}
	conn.Close(nil)
	b, err := io.ReadAll(c.r)
	if err != nil || bytes.Count(b, []byte("x")) < (written-1)*len(piece) {
		t.Errorf("peer got %d bytes and %v; %d were written", len(b), err, (written-1)*len(piece))
	}
}

func TestFramesAreToldFromHTTPByTheirFirstBytes(t *testing.T) {
	t.Parallel()
	l := &lines{closed: make(chan error, 1)}
	d := open(t, edge.Config{Frames: func(*edge.Conn) edge.ConnHandler { return l }}, echo)
	for _, sent := range []string{"VERSION-CONTROL / HTTP/1.1\r\nHost: h\r\n\r\n", "VM / HTTP/1.1\r\nHost: h\r\n\r\n", get} {
		c := d.dial()
		for _, b := range sent {
			c.send(string(b))
		}
		c.want(200, "")
	}
	c := d.dial()
	for _, b := range "VML1x\n" {
		c.send(string(b))
	}
	c.line("VML1X\n")
	_ = c.Close()
	if err := <-l.closed; err != nil {
		t.Errorf("OnClose got %v", err)
	}
}

type panicking struct{ closed chan error }

func (panicking) OnBytes(*edge.Conn, []byte) (int, error) { panic("on purpose") }
func (p panicking) OnClose(err error)                     { p.closed <- err }

func TestPanickingProtocolCostsItsConnectionOnly(t *testing.T) {
	t.Parallel()
	p := panicking{make(chan error, 1)}
	d := open(t, edge.Config{Loops: 1, Frames: func(*edge.Conn) edge.ConnHandler { return p }}, echo)
	other := d.dial()
	other.send(get)
	other.want(200, "")
	c := d.dial()
	c.send("VML1")
	if err := <-p.closed; err != nil {
		t.Errorf("OnClose got %v", err)
	}
	if _, err := c.r.ReadByte(); err == nil {
		t.Error("the connection lives on")
	}
	other.send(get)
	other.want(200, "")
}

func TestWhoAsksIsToldWhenThePeerHasCaughtUp(t *testing.T) {
	t.Parallel()
	asked, told := make(chan int, 1), make(chan struct{})
	l := &lines{closed: make(chan error, 1)}
	c := open(t, edge.Config{MaxOutbound: 16 << 20}, func(ex *edge.Exchange) {
		ex.Upgrade([]http1.Field{{Name: "Upgrade", Value: "lines"}}, func(u *edge.Conn) edge.ConnHandler {
			go func() {
				sent := 0
				// More than the kernel takes for a peer that does not read: some 10 MiB.
				for sent < 15<<20 && u.Write(make([]byte, 64<<10)) == nil {
					sent += 64 << 10
				}
				if !u.AskRoom(func() { close(told) }) {
					t.Error("nobody is told although a megabyte waits")
				}
				asked <- sent
			}()
			return l
		})
	}).dial()
	c.send(upgradeRequest)
	n := <-asked
	select {
	case <-told:
		t.Error("told before anything was read")
	default:
	}
	for got := ""; got != "\r\n"; {
		var err error
		if got, err = c.r.ReadString('\n'); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := io.CopyN(io.Discard, c.r, int64(n)); err != nil {
		t.Fatal(err)
	}
	<-told
	_ = c.Close()
	if err := <-l.closed; err != nil {
		t.Errorf("OnClose got %v", err)
	}
}

func TestWritesFromOutsideArriveThoughInputWaits(t *testing.T) {
	t.Parallel()
	l := &lines{closed: make(chan error, 1)}
	conns := make(chan *edge.Conn, 1)
	d := open(t, edge.Config{Frames: func(c *edge.Conn) edge.ConnHandler { conns <- c; return l }}, echo)
	c := d.dial()
	c.send("VML1\nhalf a line")
	c.line("VML1\n")
	conn := <-conns
	for range 3 {
		if err := conn.Write([]byte("hello\n")); err != nil {
			t.Fatal(err)
		}
		c.line("hello\n")
	}
	c.send(" and the rest\n")
	c.line("HALF A LINE AND THE REST\n")
}

// debts are lines of which every one is owed until it is paid.
type debts struct {
	lines
	due   atomic.Int32
	conns chan *edge.Conn
}

func (d *debts) OnBytes(c *edge.Conn, data []byte) (int, error) {
	n := bytes.LastIndexByte(data, '\n') + 1
	if owed := bytes.Count(data[:n], []byte("\n")); owed > 0 {
		d.due.Add(int32(owed))
		d.conns <- c
	}
	return n, nil
}

func (d *debts) Due() bool { return d.due.Load() > 0 }

func (d *debts) OnEnd(c *edge.Conn) {
	_ = c.Write([]byte("end\n"))
	c.Close(errBye)
}

func TestAProtocolGivesAnswersAfterItsPeerShutItsSendingSide(t *testing.T) {
	t.Parallel()
	newDebts := func() *debts {
		return &debts{lines: lines{closed: make(chan error, 1)}, conns: make(chan *edge.Conn, 1)}
	}
	for name, sent := range map[string]string{"whole lines": "VML1\na\n", "half a line behind": "VML1\na\nb"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newDebts()
			d := open(t, edge.Config{HalfClose: time.Minute, Frames: func(*edge.Conn) edge.ConnHandler { return p }}, echo)
			c := d.dial()
			c.send(sent)
			conn := <-p.conns
			if err := c.CloseWrite(); err != nil {
				t.Fatal(err)
			}
			waitFor(t, "the end of input to be seen", func() bool { return d.Stats().HalfClosed.Load() == 1 })
			for i := p.due.Load() - 1; i >= 0; i-- {
				if err := conn.Write([]byte("paid\n")); err != nil {
					t.Fatal(err)
				}
				c.line("paid\n")
				p.due.Store(i)
			}
			conn.Resume()
			c.line("end\n")
			c.wantEnd()
			if err := <-p.closed; !errors.Is(err, errBye) {
				t.Errorf("OnClose got %v", err)
			}
		})
	}
	t.Run("not for ever", func(t *testing.T) {
		t.Parallel()
		p := newDebts()
		d := open(t, edge.Config{HalfClose: 50 * time.Millisecond, Frames: func(*edge.Conn) edge.ConnHandler { return p }}, echo)
		c := d.dial()
		c.send("VML1\n")
		<-p.conns
		if err := c.CloseWrite(); err != nil {
			t.Fatal(err)
		}
		c.wantEnd()
		if err := <-p.closed; err != nil {
			t.Errorf("OnClose got %v", err)
		}
	})
}
