package edge_test

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/voicemill/voicemill/gateway/internal/edge"
	"github.com/voicemill/voicemill/gateway/internal/http1"
)

// uploads is a handler that streams the bodies of PUT requests. Others are echoed.
type uploads func(ex *edge.Exchange, b *edge.Body)

func (u uploads) ReadsEarly(r *http1.Request) bool { return r.Method() == http.MethodPut }

func (u uploads) ServeEdge(ex *edge.Exchange) {
	b := ex.BodyReader()
	if b == nil {
		echo(ex)
		return
	}
	if !carry(ex, func() { u(ex, b) }) {
		ex.Respond(text(503, "too many"))
	}
}

// digest answers with the length and a digest of the body, or with what it could
// not be read for.
func digest(ex *edge.Exchange, b *edge.Body) { digestWith(ex, b, func() {}) }

// digestWith calls pause before it reads on.
func digestWith(ex *edge.Exchange, b *edge.Body, pause func()) {
	h := sha256.New()
	var n int64
	for piece := make([]byte, 32<<10); ; pause() {
		m, err := b.Read(piece)
		h.Write(piece[:m])
		n += int64(m)
		if err != nil {
			if errors.Is(err, io.EOF) {
				err = nil
			}
			ex.Respond(verdict(n, h.Sum(nil), err))
			return
		}
	}
}

func verdict(n int64, sum []byte, err error) http1.Response {
	if e, ok := errors.AsType[*http1.Error](err); ok {
		return text(e.Status, e.Public)
	}
	if err != nil {
		return text(500, err.Error())
	}
	return text(200, fmt.Sprintf("%d %x", n, sum[:4]))
}

// said is what digest answers for the first size bytes of a pattern.
func said(size int64) string {
	h := sha256.New()
	_, _ = io.Copy(h, &pattern{size: size})
	return string(verdict(size, h.Sum(nil), nil).Body)
}

func content(size int64) string {
	b, _ := io.ReadAll(&pattern{size: size})
	return string(b)
}

func put(body string) string {
	return fmt.Sprintf("PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
}

// putChunked sends the body in chunks of n bytes.
func putChunked(body string, n int) string {
	var b strings.Builder
	b.WriteString("PUT / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n")
	for at := 0; at < len(body); at += n {
		piece := body[at:min(at+n, len(body))]
		fmt.Fprintf(&b, "%x\r\n%s\r\n", len(piece), piece)
	}
	return b.String() + "0;a=b\r\nX: y\r\n\r\n"
}

func TestStreamedRequestBodiesArriveWhole(t *testing.T) {
	t.Parallel()
	const size = 3_000_001
	body := content(size)
	for name, raw := range map[string]string{
		"sized": put(body), "chunked": putChunked(body, 10_000), "in tiny chunks": putChunked(body[:70_000], 1), "small": put("x"), "empty chunked": putChunked("", 1),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := openWith(t, edge.Config{}, uploads(digest))
			c := d.dial()
			for range 3 { // each of them on the connection that the one before left
				c.send(raw + get)
				switch name {
				case "in tiny chunks":
					c.want(200, said(70_000))
				case "small":
					c.want(200, "")
				case "empty chunked":
					c.want(200, said(0))
				default:
					c.want(200, said(size))
				}
				c.want(200, "GET / ")
			}
		})
	}
}

func TestAReaderThatTakesItsTimeHoldsItsClientBack(t *testing.T) {
	t.Parallel()
	const size = 32 << 20
	var read atomic.Int64
	hold := make(chan struct{})
	d := openWith(t, edge.Config{}, uploads(func(ex *edge.Exchange, b *edge.Body) {
		n, err := io.CopyN(io.Discard, b, 1000)
		read.Add(n)
		<-hold
		m, err2 := io.Copy(io.Discard, b)
		ex.Respond(verdict(n+m, []byte("none"), errors.Join(err, err2)))
	}))
	c := d.dial()
	var sent atomic.Int64
	done := make(chan error, 1)
	go func() {
		_, err := fmt.Fprintf(c, "PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n", size)
		for p := make([]byte, 16<<10); err == nil && sent.Load() < size; {
			_, err = c.Write(p)
			sent.Add(int64(len(p)))
		}
		done <- err
	}()
	waitFor(t, "the connection to leave its loop", func() bool { return d.Stats().Departed.Load() == 1 })
	var last int64
	still := 0
	waitFor(t, "the client to be held back", func() bool { // for 50 looks, because nothing announces it
		if n := sent.Load(); n != last {
			last, still = n, 0
		}
		still++
		return still > 50
	})
	if last > size/2 {
		t.Errorf("the client could send %d bytes of %d to a reader that took %d", last, size, read.Load())
	}
	if n := d.Stats().Buffered.Load(); n > 256<<10 {
		t.Errorf("%d bytes are buffered", n)
	}
	close(hold)
	if err := <-done; err != nil {
		t.Fatalf("send: %v", err)
	}
	c.want(200, fmt.Sprintf("%d %x", size, "none"))
	c.send(get)
	c.want(200, "GET / ") // it came back
}

func TestRequestsBehindAnUploadAreAnsweredAfterIt(t *testing.T) {
	t.Parallel()
	d := openWith(t, edge.Config{}, uploads(digest))
	c := d.dial()
	body := content(500_000)
	raw := get + put(body) + get + putChunked(body, 999) + put("") + get
	done := make(chan error, 1)
	go func() { _, err := io.WriteString(c, raw); done <- err }()
	for _, want := range []string{"GET / ", said(500_000), "GET / ", said(500_000), "PUT / ", "GET / "} {
		c.want(200, want)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

func TestTheBodyIsAskedForWhenItIsRead(t *testing.T) {
	t.Parallel()
	gate := make(chan struct{})
	answer := uploads(func(ex *edge.Exchange, b *edge.Body) {
		if string(ex.Request().RawPath()) == "/no" {
			ex.Respond(text(413, "no"))
			return
		}
		<-gate
		digest(ex, b)
	})
	d := openWith(t, edge.Config{}, answer)
	const head = "Host: h\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n"
	c := d.dial()
	c.send("PUT /no HTTP/1.1\r\n" + head)
	if a := c.want(413, "no"); !a.close {
		t.Error("the connection goes on although the body may follow")
	}
	c.wantEnd()

	for range 2 {
		c = d.dial()
		c.send(get + "PUT / HTTP/1.1\r\n" + head)
		c.want(200, "GET / ")
		waitFor(t, "the request", func() bool { return d.Stats().Bodies.Load() == 1 })
		gate <- struct{}{}
		c.line("HTTP/1.1 100 Continue\r\n")
		c.line("\r\n")
		c.send(content(5))
		c.want(200, said(5))
	}

	const stall = 50 * time.Millisecond
	d = openWith(t, edge.Config{BodyStall: stall}, answer)
	c = d.dial()
	c.send("PUT / HTTP/1.1\r\n" + head)
	<-time.After(4 * stall) // a body that nobody has asked for does not stall
	gate <- struct{}{}
	c.line("HTTP/1.1 100 Continue\r\n")
	c.line("\r\n")
	c.want(408, "")
}

func TestAnAnswerBeforeTheEndOfTheBodyArrives(t *testing.T) {
	t.Parallel()
	for name, read := range map[string]int64{"unread": 0, "partly read": 100_000} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := openWith(t, edge.Config{LingerTimeout: 3 * time.Second}, uploads(func(ex *edge.Exchange, b *edge.Body) {
				_, _ = io.CopyN(io.Discard, b, read)
				ex.Respond(text(413, "enough"))
			}))
			c := d.dial()
			c.send("PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 100000000\r\n\r\n" + content(400_000))
			if a := c.want(413, "enough"); !a.close {
				t.Error("the connection goes on")
			}
			c.wantEnd()
			waitFor(t, "the connection to be closed", func() bool { return d.Stats().Open.Load() == 0 })
		})
	}
}

func TestAnswersMayLeaveWhileTheBodyArrives(t *testing.T) {
	t.Parallel()
	d := openWith(t, edge.Config{}, uploads(func(ex *edge.Exchange, b *edge.Body) {
		s := ex.BeginBody(200, nil, http1.UnknownLength)
		p := make([]byte, 10)
		for {
			n, err := io.ReadFull(b, p)
			_ = s.Write(bytes.ToUpper(p[:n]))
			if err != nil {
				s.End()
				return
			}
		}
	}))
	c := d.dial()
	c.send("PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 1000\r\n\r\n")
	r, err := http.ReadResponse(c.r, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = r.Body.Close() }()
	for range 100 {
		c.send("abcdefghij")
		got := make([]byte, 10)
		if _, err := io.ReadFull(r.Body, got); err != nil || string(got) != "ABCDEFGHIJ" {
			t.Fatalf("got %q, %v", got, err)
		}
	}
	if rest, err := io.ReadAll(r.Body); err != nil || len(rest) > 0 {
		t.Errorf("at the end: %q, %v", rest, err)
	}
	c.send(get)
	c.want(200, "GET / ")
}

func TestBodiesThatCannotBecomeWholeAreAnswered(t *testing.T) {
	t.Parallel()
	const sized = "PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 300000\r\n\r\n"
	const chunked = "PUT / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
	const stalled = 408
	for name, k := range map[string]struct {
		raw    string
		end    bool // the client shuts its sending side
		status int
	}{
		"sized, cut short":       {sized + content(1000), true, 400},
		"sized, nothing":         {sized, true, 400},
		"chunked, cut short":     {chunked + "ff\r\nabc", true, 400},
		"chunked, no last chunk": {chunked + "3\r\nabc\r\n", true, 400},
		"malformed chunk":        {chunked + "3\r\nabc\r\nzz\r\n", false, 400},
		"malformed at once":      {chunked + "zz\r\n", false, 400},
		"too long an extension":  {chunked + "3;" + strings.Repeat("x", 300), false, 400},
		"too many trailers":      {chunked + "0\r\n" + strings.Repeat("A: b\r\n", 2000), false, 431},
		"sized, stalled":         {sized + content(1000), false, stalled},
		"chunked, stalled":       {chunked + "ff\r\nabc", false, stalled},
		"whole, then the end":    {sized + content(300_000), true, 200},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := edge.Config{LingerTimeout: time.Second}
			if k.status == stalled {
				cfg.BodyStall = 100 * time.Millisecond
			}
			d := openWith(t, cfg, uploads(digest))
			c := d.dial()
			c.send(k.raw)
			if k.end {
				_ = c.CloseWrite()
			}
			a := c.want(k.status, "")
			if !a.close && k.status != 200 {
				t.Error("the connection goes on")
			}
			c.wantEnd()
			waitFor(t, "everything to be over", func() bool { return d.Stats().Open.Load() == 0 && d.Stats().Bodies.Load() == 0 })
		})
	}
}

func TestAClientThatDripsItsBodyIsLate(t *testing.T) {
	t.Parallel()
	d := openWith(t, edge.Config{BodyTimeout: 200 * time.Millisecond, BodyRate: 1000, BodyStall: 30 * time.Second, LingerTimeout: time.Minute}, uploads(digest))
	c := d.dial()
	c.send("PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 300000\r\n\r\n")
	answered := make(chan struct{})
	go func() {
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-answered:
				return
			case <-tick.C:
				_, _ = c.Write([]byte("x"))
			}
		}
	}()
	c.want(408, "")
	close(answered)
	if d.Stats().Late.Load() != 1 {
		t.Errorf("%d late", d.Stats().Late.Load())
	}
}

func TestAReaderThatNeverReadsIsAnsweredFor(t *testing.T) {
	t.Parallel()
	gave := make(chan error, 1)
	d := openWith(t, edge.Config{AnswerTimeout: 3 * time.Second, BodyStall: time.Second, LingerTimeout: time.Minute}, uploads(func(ex *edge.Exchange, b *edge.Body) {
		<-ex.Context().Done()
		_, err := b.Read(make([]byte, 1))
		gave <- err
	}))
	c := d.dial()
	c.send("PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 30000000\r\n\r\n" + content(400_000))
	if a := c.want(503, ""); !a.close {
		t.Error("the connection goes on")
	}
	if err := <-gave; !errors.Is(err, net.ErrClosed) {
		t.Errorf("read after the answer: %v", err)
	}
}

// cuts are the byte positions at which a test ends a request.
func cuts(n int) []int {
	var at []int
	for i := 0; i < n; i += 1 + i/40 {
		at = append(at, i)
	}
	return at
}

func TestAnUploadMayEndAtEveryByte(t *testing.T) {
	t.Parallel()
	var whole, broken atomic.Int64
	d := openWith(t, edge.Config{LingerTimeout: 20 * time.Millisecond}, uploads(func(ex *edge.Exchange, b *edge.Body) {
		n, err := io.Copy(io.Discard, b)
		if err == nil {
			whole.Add(1)
		} else {
			broken.Add(1)
		}
		ex.Respond(verdict(n, []byte("none"), err))
	}))
	small := putChunked(content(200), 50)
	large := putChunked(content(200_000), 70_000)
	for _, raw := range []string{small, large} {
		for _, at := range cuts(len(raw)) {
			for _, reset := range []bool{false, true} {
				c := d.dial()
				_, _ = io.WriteString(c, raw[:at])
				if reset {
					_ = c.SetLinger(0)
				}
				_ = c.Close()
			}
		}
	}
	waitFor(t, "everything to be over", func() bool { return d.Stats().Open.Load() == 0 && d.Stats().Bodies.Load() == 0 })
	if whole.Load() != 0 {
		t.Errorf("%d bodies were taken for whole", whole.Load())
	}
	if broken.Load() == 0 || d.Stats().Panics.Load() != 0 || d.Stats().Buffered.Load() != 0 {
		t.Errorf("%d broken bodies, %d panics, %d bytes buffered", broken.Load(), d.Stats().Panics.Load(), d.Stats().Buffered.Load())
	}
}

func TestSurplusUploadsAreRefused(t *testing.T) {
	t.Parallel()
	d := openWith(t, edge.Config{MaxBodies: 1, LingerTimeout: 100 * time.Millisecond}, uploads(digest))
	first, second := d.dial(), d.dial()
	first.send("PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\n")
	waitFor(t, "the upload to begin", func() bool { return d.Stats().Bodies.Load() == 1 })
	second.send(put("abc"))
	second.want(503, "too many")
	second.send(get)
	second.want(200, "GET / ") // its body had arrived
	first.send(content(3))
	first.want(200, said(3))
	if d.Stats().ShedBodies.Load() != 1 {
		t.Errorf("%d shed", d.Stats().ShedBodies.Load())
	}
}

func TestUploadsAreFinishedWhileDraining(t *testing.T) {
	t.Parallel()
	d := openWith(t, edge.Config{Grace: time.Minute}, uploads(digest))
	c := d.dial()
	body := content(2_000_000)
	raw := put(body)
	c.send(raw[:900_000])
	waitFor(t, "the upload to begin", func() bool { return d.Stats().Bodies.Load() == 1 })
	d.stop()
	<-d.Draining()
	c.send(raw[900_000:])
	if a := c.want(200, said(2_000_000)); !a.close {
		t.Error("the connection goes on")
	}
	d.close()
}

func TestAnUploadIsCutAtTheEndOfTheGrace(t *testing.T) {
	t.Parallel()
	gave := make(chan error, 1)
	d := openWith(t, edge.Config{Grace: 50 * time.Millisecond}, uploads(func(_ *edge.Exchange, b *edge.Body) {
		_, err := io.Copy(io.Discard, b)
		gave <- err
	}))
	c := d.dial()
	c.send("PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 30000000\r\n\r\n" + content(400_000))
	waitFor(t, "the upload to begin", func() bool { return d.Stats().Bodies.Load() == 1 })
	d.close()
	if err := <-gave; !errors.Is(err, edge.ErrGraceSpent) {
		t.Errorf("the reader was told %v", err)
	}
}
